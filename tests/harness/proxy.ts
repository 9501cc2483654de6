/** Stands between a client and a server's unix socket, and can be told to fail as networks do. */
import { once } from 'node:events'
import { rm } from 'node:fs/promises'
import { connect, createServer } from 'node:net'
import type { Server, Socket } from 'node:net'

interface Pair {
  readonly near: Socket
  readonly far: Socket
}

export class Proxy {
  readonly url: string
  readonly #server: Server
  readonly #pairs = new Set<Pair>()
  #stalled = false

  private constructor(url: string, server: Server) {
    this.url = url
    this.#server = server
  }

  static async start(path: string, upstream: string): Promise<Proxy> {
    const server = createServer()
    const proxy = new Proxy(path, server)
    server.on('connection', (near) => proxy.#pair(near, connect(upstream)))
    server.listen(path)
    await once(server, 'listening')
    return proxy
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
