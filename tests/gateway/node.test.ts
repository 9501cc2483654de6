import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { expect, test } from 'vitest'
import { serve, urlOf } from '../../gateway/node.ts'
import { EventStream } from './event-stream.ts'
import { modelOf, startFleet } from './fleet.ts'

test('the gateway listens on a free port, serves over HTTP and stops', async () => {
  await using fleet = await startFleet()
  const gateway = await serve(fleet.services, { port: 0 })

  const health = await fetch(`${gateway.url}/healthz`)
  await gateway.stop()

  expect(health.status).toBe(200)
  expect(gateway.url).toBe(`http://127.0.0.1:${gateway.port}`)
  await expect(fetch(`${gateway.url}/healthz`)).rejects.toThrow('fetch failed')
})

test('a stop ends the streams of events and does not wait for their jobs', async () => {
  await using fleet = await startFleet()
  const gateway = await serve(fleet.services, { port: 0 })
  const { id } = await fleet.submit()
  const headers = { authorization: `Bearer ${await fleet.token('user')}` }
  const stream = new EventStream(await fetch(`${gateway.url}/v1/jobs/${id}/events`, { headers }))
  await stream.next()

  const [rest] = await Promise.all([stream.rest(), gateway.stop()])

  expect(rest.some(({ event }) => event === 'end')).toBe(false)
})

test('a client that hangs up over HTTP frees what followed for it', async () => {
  await using fleet = await startFleet()
  await using gateway = await serve(fleet.services, { port: 0 })
  const { id } = await fleet.submit()
  const leaving = new AbortController()
  const init = { headers: { authorization: `Bearer ${await fleet.token('user')}` }, signal: leaving.signal }
  const response = await fetch(`${gateway.url}/v1/jobs/${id}/events`, init)
  const listeners = (): number => fleet.server.listeners.get(`job:${id}:metrics`)?.size ?? 0
  await expect.poll(listeners).toBe(1)

  leaving.abort()

  await expect.poll(listeners).toBe(0)
  await response.body?.cancel().catch(() => {}) // it was aborted
})

test('a port that is taken is named, and what to do about it', async () => {
  await using fleet = await startFleet()
  const other = createServer()
  await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve))
  const { port } = other.address() as AddressInfo // it listens on a port, not on a pipe

  await expect(serve(fleet.services, { port })).rejects.toMatchObject({
    code: 'port.taken',
    message: expect.stringMatching(new RegExp(`port ${port} .*--port`)) as string,
  })
  other.close()
})

test('an address that is not of this machine is refused', async () => {
  await using fleet = await startFleet()

  await expect(serve(fleet.services, { port: 0, hostname: '192.0.2.1' })).rejects.toMatchObject({
    code: 'port.unavailable',
  })
})

test('large downloads and long streams go over HTTP unbroken', async () => {
  await using fleet = await startFleet()
  await using gateway = await serve(fleet.services, { port: 0 })
  const bytes = crypto.getRandomValues(new Uint8Array(65_536))
  const large = new Uint8Array(65_536 * 64)
  for (let i = 0; i < 64; i++) large.set(bytes, i * 65_536)
  const weights = await fleet.blobs.put(large)
  await fleet.models.put('big@1', modelOf('big', 1, { weights }))
  const headers = { authorization: `Bearer ${await fleet.token('user')}` }

  const response = await fetch(`${gateway.url}/v1/models/big/versions/1/download`, { headers })

  expect(response.headers.get('content-length')).toBe(String(large.byteLength))
  expect(Buffer.from(await response.arrayBuffer()).equals(large)).toBe(true)
})

test.for([
  ['127.0.0.1', 'http://127.0.0.1:8080'],
  ['0.0.0.0', 'http://localhost:8080'],
  ['::1', 'http://[::1]:8080'],
] as const)('%s is shown as %s', ([hostname, url]) => {
  expect(urlOf(hostname, 8080)).toBe(url)
})
