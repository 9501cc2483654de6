/** The gateway on Node: listens, and stops without cutting an answer short. */
import { readFile } from 'node:fs/promises'
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createAdaptorServer } from '@hono/node-server'
import { createApp } from './app.ts'
import { isLoopback } from './edge.ts'
import { LIMITS } from './limits.ts'
import { pageFrom } from './page.ts'
import { GatewayError } from './problems.ts'
import type { Services, Settings } from './services.ts'

export interface ServeOptions extends Partial<Omit<Settings, 'page' | 'stopping'>> {
  /** 0 takes any free one. */
  readonly port: number
}

export interface RunningGateway extends AsyncDisposable {
  /** Where it is reached: `http://127.0.0.1:8080`. */
  readonly url: string
  readonly port: number
  /** Takes no more connections, ends streams of events, waits for answers under way, cuts what is left. */
  stop(): Promise<void>
}

/** Resolves when it listens. Throws `port.taken` and `port.unavailable`, which say what to do. */
export async function serve(services: Services, options: ServeOptions): Promise<RunningGateway> {
  const { port, hostname = '127.0.0.1', ...settings } = options
  const stopping = new AbortController()
  const page = await pageFrom(async (file) => new Uint8Array(await readFile(file)))
  const app = createApp(services, { ...settings, hostname, stopping: stopping.signal, page })
  // HTTP/1 is what the adapter makes unless told otherwise.
  const server = createAdaptorServer({ fetch: app.fetch, overrideGlobalObjects: false }) as Server
  // Large uploads take as long as they take; headers keep their limit, and other requests have a deadline of ours.
  server.requestTimeout = 0
  await listen(server, hostname, port)

  const address = server.address() as AddressInfo // it listens on a port, not on a pipe
  const stop = async (): Promise<void> => {
    stopping.abort()
    const closed = Promise.withResolvers<void>()
    server.close(() => closed.resolve())
    server.closeIdleConnections()
    // A connection whose answer ends only now is not kept for a next request that will not be served.
    server.keepAliveTimeout = 1
    server.keepAliveTimeoutBuffer = 0
    const cut = setTimeout(() => server.closeAllConnections(), LIMITS.stopMs)
    await closed.promise
    clearTimeout(cut)
  }
  return { url: urlOf(hostname, address.port), port: address.port, stop, [Symbol.asyncDispose]: stop }
}

/** The address to show to people: an unspecified one is reached by this machine's own name. */
export function urlOf(hostname: string, port: number): string {
  const host = hostname === '0.0.0.0' || hostname === '::' ? 'localhost' : hostname
  return `http://${host.includes(':') ? `[${host}]` : host}:${port}`
}

function listen(server: Server, hostname: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => reject(listenError(error, hostname, port)))
    server.listen(port, hostname, () => resolve())
  })
}

function listenError(cause: NodeJS.ErrnoException, hostname: string, port: number): GatewayError {
  if (cause.code === 'EADDRINUSE') {
    return new GatewayError(
      'port.taken',
      `Cannot listen on port ${port} of ${hostname}: another program has it. Stop that one, or choose another port ` +
        'with --port (0 takes any free one).',
      { cause },
    )
  }
  const why =
    cause.code === 'EACCES'
      ? 'ports below 1024 are for the administrator'
      : isLoopback(hostname)
        ? cause.message
        : `is ${hostname} an address of this machine? (${cause.code ?? cause.message})`
  return new GatewayError('port.unavailable', `Cannot listen on port ${port} of ${hostname}: ${why}`, { cause })
}
