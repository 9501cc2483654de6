/** The listening connection in the moments between: connected anew, and not yet told that it listens. */
import { once } from 'node:events'
import { createServer } from 'node:net'
import type { AddressInfo, Socket } from 'node:net'
import { expect, onTestFinished, test } from 'vitest'
import { Connection } from '../../runtime/redis/connection.ts'
import { parseEndpoint } from '../../runtime/redis/endpoint.ts'
import { LOOPBACK } from '../harness/redis-process.ts'

/** As much of a Redis as a connection asks for; it answers a SUBSCRIBE as long as `hears`. */
class Server {
  readonly #server = createServer((socket) => this.#serve(socket))
  readonly #sockets = new Set<Socket>()
  readonly #asked: PromiseWithResolvers<void>[] = []
  hears = true
  /** Each SUBSCRIBE, by its channels. */
  readonly subscribed: string[][] = []

  async start(): Promise<string> {
    this.#server.listen(0, LOOPBACK)
    await once(this.#server, 'listening')
    return `redis://${LOOPBACK}:${(this.#server.address() as AddressInfo).port}` // it listens at a port
  }

  /** Resolves at the next SUBSCRIBE. */
  nextSubscribe(): Promise<void> {
    const asked = Promise.withResolvers<void>()
    this.#asked.push(asked)
    return asked.promise
  }

  /** Resolves when all clients have hung up. */
  async nextGone(): Promise<void> {
    await Promise.all([...this.#sockets].map((socket) => once(socket, 'close')))
  }

  cut(): void {
    for (const socket of this.#sockets) socket.destroy()
  }

  stop(): void {
    this.#server.close()
    this.cut()
  }

  #serve(socket: Socket): void {
    this.#sockets.add(socket)
    socket.on('error', () => {}) // it was cut
    socket.on('close', () => this.#sockets.delete(socket))
    socket.on('data', (data) => {
      for (const command of commandsIn(data.toString())) socket.write(this.#answer(command))
    })
  }

  #answer([name = '', ...args]: string[]): string {
    if (name !== 'subscribe') return name === 'info' ? bulk('redis_version:7.0.15\r\nloading:0\r\n') : '+OK\r\n'
    this.subscribed.push(args)
    for (const asked of this.#asked.splice(0)) asked.resolve()
    return this.hears
      ? args.map((channel, i) => `*3\r\n${bulk('subscribe')}${bulk(channel)}:${i + 1}\r\n`).join('')
      : ''
  }
}

function bulk(text: string): string {
  return `$${text.length}\r\n${text}\r\n`
}

/** Whole commands: what a connection sends here is small. */
function commandsIn(text: string): string[][] {
  return text
    .split(/^\*\d+\r\n/m)
    .slice(1)
    .map((part) => part.split('\r\n').filter((_, i) => i % 2 === 1))
    .map(([name = '', ...args]) => [name.toLowerCase(), ...args])
}

async function listening(): Promise<{ server: Server; connection: Connection<never> }> {
  const server = new Server()
  onTestFinished(() => server.stop())
  const connection = new Connection<never>(parseEndpoint(await server.start()), {})
  onTestFinished(() => connection.stop())
  await connection.start()
  await connection.subscribe('a', () => {})
  await connection.subscribe('b', () => {})
  return { server, connection }
}

test('a connection that is made anew listens to all it listened to', async () => {
  const { server } = await listening()
  const again = server.nextSubscribe()
  server.cut()
  await again
  expect(server.subscribed).toEqual([['a'], ['b'], ['a', 'b']])
})

// A rejection that nobody hears ends a process; here it fails the run.
test('one that is stopped before it is told that it listens leaves no rejection that nobody hears', async () => {
  const { server, connection } = await listening()
  server.hears = false
  const again = server.nextSubscribe()
  server.cut()
  await again
  const gone = server.nextGone()
  connection.stop()
  await gone
  expect(server.subscribed.at(-1)).toEqual(['a', 'b'])
})
