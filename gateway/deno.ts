/** The gateway on Deno: the same app under `Deno.serve`. */
import { createApp } from './app.ts'
import { pageFrom } from './page.ts'
import type { Services, Settings } from './services.ts'

/** As much of Deno as is used here; its own types would shadow Node's. */
declare const Deno: {
  readFile(path: URL): Promise<Uint8Array<ArrayBuffer>>
  serve(
    options: { hostname: string; port: number; onListen: (address: { port: number }) => void },
    handler: (request: Request) => Response | Promise<Response>,
  ): { addr: { port: number }; shutdown(): Promise<void> }
}

export interface ServeOptions extends Partial<Omit<Settings, 'page' | 'stopping'>> {
  /** 0 takes any free one. */
  readonly port: number
}

export interface RunningGateway extends AsyncDisposable {
  readonly port: number
  /** Takes no more connections, ends streams of events, waits for answers under way. */
  stop(): Promise<void>
}

/** Resolves when it listens. */
export async function serve(services: Services, options: ServeOptions): Promise<RunningGateway> {
  const { port, hostname = '127.0.0.1', ...settings } = options
  const stopping = new AbortController()
  const page = await pageFrom((file) => Deno.readFile(file))
  const app = createApp(services, { ...settings, hostname, stopping: stopping.signal, page })
  const listening = Promise.withResolvers<number>()
  const server = Deno.serve({ hostname, port, onListen: (address) => listening.resolve(address.port) }, (request) =>
    app.fetch(request),
  )
  const stop = async (): Promise<void> => {
    stopping.abort()
    await server.shutdown()
  }
  return { port: await listening.promise, stop, [Symbol.asyncDispose]: stop }
}
