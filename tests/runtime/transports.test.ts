import { readFile, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { SHARDS_DEFAULT } from '../../runtime/address.ts'
import type { Transport } from '../../runtime/transport.ts'
import { MemoryServer } from '../../runtime/transports/memory.ts'
import { redisTransport } from '../../runtime/transports/redis.ts'
import { transportContract } from '../contracts/transport.ts'
import type { TransportFixture } from '../contracts/transport.ts'
import { makeCertificates } from '../harness/certificates.ts'
import { has } from '../harness/parts.ts'
import { freePorts, LOOPBACK, RedisProcess } from '../harness/redis-process.ts'
import { TestCluster } from '../harness/redis-cluster.ts'
import { TestSentinels } from '../harness/redis-sentinel.ts'
import { TestRedis } from '../harness/redis.ts'

for (const reach of ['every shard', 'own shard'] as const) {
  transportContract(`memory (${reach})`, true, async () => {
    const server = new MemoryServer({ reach })
    return fixtureOf(
      () => server.connect(),
      async () => {},
    )
  })
}

transportContract('Redis', has('redis'), async () => fixtureAt(await TestRedis.start()))

transportContract('Redis by Sentinel', has('redis'), async () => fixtureAt(await TestSentinels.start()))

transportContract('Redis Cluster', has('redis'), async () => fixtureAt(await TestCluster.start()))

transportContract('Redis with TLS and a password', has('redis'), async () => fixtureAt(await startTls()))

describe.skipIf(!has('redis'))('a server that does not suit', () => {
  test('a certificate that nobody vouches for is refused, and the reason is said', async () => {
    await using server = await startTls()
    const transport = redisTransport({ url: server.url.replace(/\?.*/, '') })
    await expect(transport.start({ shards: 1 })).rejects.toThrow(/Redis does not answer: .*certificate/)
  })

  test('a server that asks for a password that is not given says so', async () => {
    await using server = await startTls()
    const transport = redisTransport({ url: server.url.replace(/\/\/.*@/, '//') })
    await expect(transport.start({ shards: 1 })).rejects.toThrow(/NOAUTH/)
  })

  test('Sentinels that do not know the master are named as the cause', async () => {
    const sentinels = await TestSentinels.start()
    const transport = redisTransport({ url: sentinels.url.replace(/[^/]+$/, 'other') })
    await expect(transport.start({ shards: 1 })).rejects.toThrow(/Redis does not answer: All sentinels are unreachable/)
    await sentinels.stop()
  })

  test('a server that is no Cluster is refused as one', async () => {
    const [port = 0] = await freePorts(1)
    const redis = await TestRedis.start('--port', String(port), '--bind', LOOPBACK)
    const transport = redisTransport({ url: `redis+cluster://${LOOPBACK}:${port}` })
    await expect(transport.start({ shards: 1 })).rejects.toThrow(/cluster support disabled/)
    await redis.stop()
  })
})

function fixtureOf(connect: () => Transport, stop: () => Promise<void>): TransportFixture {
  return {
    async connect(shards = SHARDS_DEFAULT) {
      const transport = connect()
      await transport.start({ shards })
      return transport
    },
    stop,
  }
}

function fixtureAt(server: { readonly url: string; stop(): Promise<void> }): TransportFixture {
  return fixtureOf(
    () => redisTransport({ url: server.url }),
    () => server.stop(),
  )
}

async function startTls(): Promise<{ readonly url: string; stop(): Promise<void> } & AsyncDisposable> {
  const dir = await mkdtemp(join(tmpdir(), 'tf-tls-'))
  const { ca, cert, key } = await makeCertificates(dir)
  const [port = 0] = await freePorts(1)
  const tls = ['--tls-cert-file', cert, '--tls-key-file', key, '--tls-ca-cert-file', ca, '--tls-auth-clients', 'no']
  const at = { host: LOOPBACK, port, password: 'p@ss', tls: { ca: await readFile(ca, 'utf8') } }
  const place = ['--bind', LOOPBACK, '--port', '0', '--tls-port', String(port), '--dir', dir, '--save', '']
  const server = new RedisProcess(at, [...place, ...tls, '--requirepass', 'p@ss'])
  await server.start()
  const stop = async (): Promise<void> => {
    await server.stop()
    await rm(dir, { recursive: true, force: true })
  }
  return { url: `rediss://:p%40ss@${LOOPBACK}:${port}?ca=${ca}`, stop, [Symbol.asyncDispose]: stop }
}
