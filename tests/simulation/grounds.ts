/**
 * The real servers that scenarios run on, and what befalls them and the ways to them while a load lasts. A ground knows
 * how a process reaches its server; the scenario, the load and the judgement are `real.ts`'s.
 */
import { join } from 'node:path'
import { Cluster, Redis } from 'ioredis'
import type { RedisOptions } from 'ioredis'
import { systemClock } from '../../runtime/clock.ts'
import type { SeededRandom } from '../../runtime/testing/seeded-random.ts'
import { Proxy } from '../harness/proxy.ts'
import type { TestCluster } from '../harness/redis-cluster.ts'
import { LOOPBACK } from '../harness/redis-process.ts'
import type { RedisProcess } from '../harness/redis-process.ts'
import type { TestSentinels } from '../harness/redis-sentinel.ts'
import type { TestRedis } from '../harness/redis.ts'

export type WayFault = 'cut' | 'answers' | 'stall' | 'crash' | 'leave'

/** How one process reaches the server. */
export interface Way {
  readonly url: string
  /** What can be done to it, the likelier the more often it stands here. */
  readonly faults: readonly WayFault[]
  readonly proxy: Proxy | null
}

/** What an upheaval has lost. */
export interface Upset {
  /** What was sent until then may be lost. */
  readonly lostBefore: number
  /** Only a part of the server was thrown back. */
  readonly partial: boolean
  /** Shards that have lost acknowledged commits for certain; null where that may be none. */
  readonly lost: ReadonlySet<string> | null
}

export interface Ground {
  /** For looking at what remains. */
  look(): Redis | Cluster
  way(name: string): Promise<Way>
  /** Processes come and go here, so that a fleet can be upgraded meanwhile. */
  readonly isRolling?: true
  /** How the worst state is called that every process must see, and leave again by itself. */
  readonly fares?: 'degraded' | 'unreachable'
  /** What befalls the server itself, until then; what it lost by that, or null. `isSeen`: every process has seen how it fares. */
  upheaval(namespace: string, random: SeededRandom, untilMs: number, isSeen: () => boolean): Promise<Upset | null>
}

/** So many slots move under each scenario, however slow the machine. */
const MOVES_MIN = 6

/** More commits than may be in flight, and so not acknowledged. */
const IN_FLIGHT_MAX = 4

/** One server. Ways break, lose answers and stall; processes die. */
export function behindProxies(redis: TestRedis, folder: string): Ground {
  return {
    look: () => lookInto({ path: redis.url }),
    async way(name) {
      const proxy = await Proxy.start(join(folder, `${name}.sock`), redis.url)
      return { url: proxy.url, proxy, faults: ['cut', 'cut', 'answers', 'answers', 'stall', 'crash', 'leave'] }
    },
    isRolling: true,
    upheaval: async () => null,
  }
}

/** One server, which is in trouble once, for a while. */
export function inTrouble(
  redis: TestRedis,
  fares: 'degraded' | 'unreachable',
  trouble: (redis: TestRedis, isSeen: () => boolean) => Promise<void>,
): Ground {
  return {
    look: () => lookInto({ path: redis.url }),
    way: async () => ({ url: redis.url, proxy: null, faults: [] }),
    fares,
    async upheaval(_namespace, _random, _untilMs, isSeen) {
      await systemClock.sleep(800)
      await trouble(redis, isSeen)
      return null
    },
  }
}

/** One server, and all connections to it go dead without a word. */
export function halfOpen(redis: TestRedis, folder: string): Ground {
  const proxies: Proxy[] = []
  return {
    look: () => lookInto({ path: redis.url }),
    async way(name) {
      const proxy = await Proxy.start(join(folder, `${name}.sock`), redis.url)
      proxies.push(proxy)
      return { url: proxy.url, proxy, faults: [] }
    },
    fares: 'degraded',
    async upheaval() {
      await systemClock.sleep(800)
      for (const proxy of proxies) proxy.blackhole()
      return null
    },
  }
}

/** A Cluster whose slots move from master to master all the time, while processes die. */
export function movingSlots(cluster: TestCluster): Ground & { readonly moved: () => number } {
  let moved = 0
  return {
    moved: () => moved,
    look: () => lookAt(cluster),
    way: async () => ({ url: cluster.url, proxy: null, faults: ['crash', 'leave'] }),
    isRolling: true,
    async upheaval(namespace, random, untilMs) {
      for (let own = 0; own < MOVES_MIN || systemClock.now() < untilMs; own++) {
        const metas = (await Promise.all(cluster.servers.map(({ admin }) => admin.keys(`{${namespace}*}:meta`)))).flat()
        const slot = await cluster.slotOf(random.pick([...new Set(metas), `{${namespace}}:nodes`]))
        await cluster.moveSlot(slot, random.int(0, 2))
        moved++
        await systemClock.sleep(random.int(20, 200))
      }
      return null
    },
  }
}

/** A master whose replica is promoted by hand, and every way turned to it. */
export function promotedByHand(master: RedisProcess, replica: RedisProcess, folder: string): Ground {
  const proxies: Proxy[] = []
  const at = (process: RedisProcess) => ({ host: LOOPBACK, port: process.port })
  return {
    look: () => lookInto(at(replica)),
    async way(name) {
      const proxy = await Proxy.start(join(folder, `${name}.sock`), at(master))
      proxies.push(proxy)
      return { url: proxy.url, proxy, faults: [] }
    },
    upheaval: (namespace) =>
      failover({ namespace, master, replica, partial: false }, async () => {
        await master.kill()
        await replica.admin.replicaof('NO', 'ONE')
        for (const proxy of proxies) proxy.redirect(at(replica))
      }),
  }
}

/** A master whose replica the Sentinels promote. */
export function promotedBySentinel(sentinels: TestSentinels): Ground {
  const { master, replica } = sentinels
  return {
    look: () => lookInto({ host: LOOPBACK, port: replica.port }),
    way: async () => ({ url: sentinels.url, proxy: null, faults: [] }),
    upheaval: (namespace) => failover({ namespace, master, replica, partial: false }, () => sentinels.failover()),
  }
}

/** A Cluster of which one master is lost, the one that holds most shards. */
export function oneMasterLost(cluster: TestCluster, promoted: 'by hand' | 'by itself'): Ground {
  return {
    look: () => lookAt(cluster),
    way: async () => ({ url: cluster.url, proxy: null, faults: [] }),
    async upheaval(namespace) {
      const place = await fullestOf(cluster, namespace)
      const [master, replica] = [cluster.servers[place], cluster.servers[place + 3]]
      if (master === undefined || replica === undefined) throw new Error('this Cluster has no replicas')
      await replica.admin.readonly()
      return failover({ namespace, master, replica, partial: true }, () => cluster.loseMaster(place, promoted))
    },
  }
}

/**
 * A Cluster of which one master, the one that holds most shards, freezes for longer than the others wait for it, and then
 * goes on. Its replica, if it has one, has taken its place by then.
 */
export function oneMasterFrozen(cluster: TestCluster): Ground {
  return {
    look: () => lookAt(cluster),
    way: async () => ({ url: cluster.url, proxy: null, faults: [] }),
    fares: 'degraded',
    async upheaval(namespace) {
      await systemClock.sleep(800)
      const place = await fullestOf(cluster, namespace)
      const [master, replica] = [cluster.servers[place], cluster.servers[place + 3]]
      master?.freeze()
      if (replica !== undefined) await cluster.untilPromoted(place)
      else await systemClock.sleep(3_000)
      master?.thaw()
      // What it has taken before it heard of its replica's promotion is lost.
      await cluster.untilAgreed()
      return replica === undefined ? null : { lostBefore: systemClock.now(), partial: true, lost: null }
    },
  }
}

/** The replica falls behind for a while, and then takes the master's place. */
async function failover(
  at: { namespace: string; master: RedisProcess; replica: RedisProcess; partial: boolean },
  promote: () => Promise<void>,
): Promise<Upset> {
  await systemClock.sleep(800)
  await at.replica.cutFromMaster()
  await systemClock.sleep(900)
  const [had, has] = [await standing(at.master, at.namespace), await standing(at.replica, at.namespace)]
  await promote()
  const lost = [...had].filter(([shard, seq]) => seq - (has.get(shard) ?? 0) > IN_FLIGHT_MAX).map(([shard]) => shard)
  return { lostBefore: systemClock.now(), partial: at.partial, lost: new Set(lost) }
}

/** Where each shard stands on a server. */
async function standing({ admin }: RedisProcess, namespace: string): Promise<Map<string, number>> {
  const keys = await admin.keys(`{${namespace}:*}:meta`)
  const seqs = await Promise.all(keys.map((key) => admin.hget(key, 'seq')))
  return new Map(keys.map((key, i) => [key.slice(namespace.length + 2, key.indexOf('}')), Number(seqs[i] ?? 0)]))
}

/** The place of the master that holds most shards. */
async function fullestOf(cluster: TestCluster, namespace: string): Promise<number> {
  const masters = cluster.servers.slice(0, 3)
  const counts = await Promise.all(masters.map(async ({ admin }) => (await admin.keys(`{${namespace}:*}:meta`)).length))
  return counts.indexOf(Math.max(...counts))
}

function lookInto(at: RedisOptions): Redis {
  const redis = new Redis({ ...at, maxRetriesPerRequest: null })
  return redis.on('error', () => {}) // it may be down for a while
}

function lookAt(cluster: TestCluster): Cluster {
  return new Cluster(cluster.servers.map(({ port }) => ({ host: LOOPBACK, port })))
}
