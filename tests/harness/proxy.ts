/** Stands between a client and a server, and can be told to fail as networks do. */
import { once } from 'node:events'
import { rm } from 'node:fs/promises'
import { connect, createServer } from 'node:net'
import type { Server, Socket } from 'node:net'

/** The path of a socket, or an address. */
export type Upstream = string | { readonly host: string; readonly port: number }

interface Pair {
  readonly near: Socket
  readonly far: Socket
}

export class Proxy {
  readonly url: string
  readonly #server: Server
  readonly #pairs = new Set<Pair>()
  #upstream: Upstream
  #stalled = false

  private constructor(url: string, server: Server, upstream: Upstream) {
    this.url = url
    this.#server = server
    this.#upstream = upstream
  }

  static async start(path: string, upstream: Upstream): Promise<Proxy> {
    const server = createServer()
    const proxy = new Proxy(path, server, upstream)
    server.on('connection', (near) => proxy.#pair(near, proxy.#connect()))
    server.listen(path)
    await once(server, 'listening')
    return proxy
  }

  /** From now on it leads to another server, as a name does that was given to another machine. */
  redirect(upstream: Upstream): void {
    this.#upstream = upstream
    this.cut()
  }

  /** Breaks all connections. */
  cut(): void {
    for (const { near, far } of this.#pairs) {
      near.destroy()
      far.destroy()
    }
  }

  /** From now on, requests arrive and take effect, and no answer comes back on the connections that are open. */
  loseAnswers(): void {
    for (const { near, far } of this.#pairs) {
      far.unpipe(near)
      far.resume()
    }
  }

  /** Nothing passes, in either direction, until `resume`: a cable that is pulled. */
  stall(): void {
    this.#stalled = true
    for (const { near, far } of this.#pairs) {
      near.unpipe(far)
      far.unpipe(near)
    }
  }

  /** The connections that are open carry nothing any more, and nobody is told: a half-open socket. New ones do. */
  blackhole(): void {
    for (const { near, far } of this.#pairs) {
      near.unpipe(far)
      far.unpipe(near)
    }
  }

  resume(): void {
    this.#stalled = false
    for (const { near, far } of this.#pairs) {
      near.pipe(far)
      far.pipe(near)
    }
  }

  /** Breaks all connections, and takes no more. */
  async stop(): Promise<void> {
    const closed = once(this.#server, 'close')
    this.#server.close()
    this.cut()
    await closed
    await rm(this.url, { force: true })
  }

  #connect(): Socket {
    return typeof this.#upstream === 'string' ? connect(this.#upstream) : connect({ ...this.#upstream })
  }

  #pair(near: Socket, far: Socket): void {
    const pair = { near, far }
    this.#pairs.add(pair)
    const end = (): void => {
      this.#pairs.delete(pair)
      near.destroy()
      far.destroy()
    }
    for (const socket of [near, far]) socket.on('error', end).on('close', end)
    if (this.#stalled) return
    near.pipe(far)
    far.pipe(near)
  }
}
