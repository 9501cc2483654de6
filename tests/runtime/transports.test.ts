import { readFile, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { address, numberedShard, SHARDS_DEFAULT } from '../../runtime/address.ts'
import { CURSOR_START } from '../../runtime/transport.ts'
import type { Transport } from '../../runtime/transport.ts'
import { MemoryServer } from '../../runtime/memory/server.ts'
import { redisTransport } from '../../runtime/transports/redis.ts'
import { empty as emptyCommit, transportContract } from '../contracts/transport.ts'
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

describe.skipIf(!has('redis'))('a server that is full', () => {
  test('takes nothing in, not even a part, and lets owners work off what is there', async () => {
    const redis = await TestRedis.start()
    onTestFinished(() => redis.stop())
    const transport = redisTransport({ url: redis.url })
    onTestFinished(() => transport.stop())
    await transport.start({ shards: 1 })
    const shard = numberedShard(0)
    const claim = await transport.claim(shard, { owner: 'a', ttlMs: 60_000, nonce: 'n', anew: false, crashWindowMs: 0 })
    const batch = Array.from({ length: 100 }, (_, i) => ({
      source: 's1',
      incarnation: 1,
      seq: i + 1,
      id: `i${i}`,
      lineage: '1:0',
      body: `m${i}`,
    }))
    await transport.deliver(shard, 'in', batch.slice(0, 1), 1_000)
    const [first] = await transport.read(shard, CURSOR_START, 10)

    await redis.admin.config('SET', 'maxmemory', '1mb')
    expect(await transport.deliver(shard, 'in', batch, 1_000)).toBe(0)
    await expect(transport.append('job:1:logs', ['a', 'b'], 10)).rejects.toThrow(/OOM/)
    const cursor = { hi: '0-0', in: first?.id ?? '' }
    const records = [{ actor: address('counter', 'a'), body: 'x'.repeat(10_000) }]
    const commit = { ...emptyCommit(shard, claim?.epoch ?? '', 0), cursor, records }
    expect(await transport.commit(commit)).toMatchObject({ ok: true })
    expect(await transport.renew(shard, claim?.epoch ?? '', 'a', 60_000)).toBe(1)
    expect(await transport.probe()).toMatch(/^Redis is full: /)
    expect(await transport.read(shard, cursor, 1_000)).toEqual([])
    expect(await transport.range('job:1:logs', '0-0', 10)).toEqual([])

    await redis.admin.config('SET', 'maxmemory', '0')
    expect(await transport.deliver(shard, 'in', batch, 1_000)).toBe(100)
    expect((await transport.read(shard, cursor, 1_000)).map(({ body }) => body)).toEqual(
      batch.slice(1).map(({ body }) => body),
    )
    expect(await transport.probe()).toBeNull()
  })
})

describe.skipIf(!has('redis'))('a Cluster', () => {
  test('says which of its masters is silent, while the others answer', async () => {
    const cluster = await TestCluster.start()
    onTestFinished(() => cluster.stop())
    const transport = redisTransport({ url: cluster.url })
    onTestFinished(() => transport.stop())
    await transport.start({ shards: SHARDS_DEFAULT })
    const [frozen, ...others] = cluster.servers
    if (frozen === undefined) throw new Error('a Cluster has servers')
    frozen.freeze()
    const reason = await transport.probe()
    frozen.thaw()
    expect(reason).toContain(`Redis at ${LOOPBACK}:${frozen.port} does not answer: silent for 1000 ms`)
    for (const { port } of others) expect(reason).not.toContain(String(port))
    await expect.poll(() => transport.probe(), { timeout: 20_000 }).toBeNull()
  })
})

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
      const { id } = await transport.start({ shards })
      return Object.assign(transport, { id })
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
