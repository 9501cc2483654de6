/**
 * A real Redis Cluster of three masters on loopback, each with a replica if asked for. Slots are dealt out evenly, and
 * can be moved while it serves; a master can be lost with what its replica had not heard yet.
 */
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { freePorts, LOOPBACK, RedisProcess, until } from './redis-process.ts'

const MASTERS = 3
const SLOTS = 16_384

interface Member {
  readonly process: RedisProcess
  readonly id: string
}

export class TestCluster {
  readonly #dir: string
  readonly #members: readonly Member[]
  #moving: Promise<void> = Promise.resolve()

  private constructor(dir: string, members: readonly Member[]) {
    this.#dir = dir
    this.#members = members
  }

  static async start({ replicas = false }: { readonly replicas?: boolean } = {}): Promise<TestCluster> {
    const dir = await mkdtemp(join(tmpdir(), 'tf-cluster-'))
    const count = replicas ? 2 * MASTERS : MASTERS
    const ports = await freePorts(2 * count)
    const members = await Promise.all(
      Array.from({ length: count }, (_, i) =>
        startMember(join(dir, String(i)), ports[2 * i] ?? 0, ports[2 * i + 1] ?? 0),
      ),
    )
    const cluster = new TestCluster(dir, members)
    await cluster.#join(ports)
    return cluster
  }

  get url(): string {
    return `redis+cluster://${this.#members.map(({ process }) => `${LOOPBACK}:${process.port}`).join(',')}`
  }

  /** All servers; the first three began as masters. */
  get servers(): readonly RedisProcess[] {
    return this.#members.map(({ process }) => process)
  }

  /** The servers that are masters now. */
  async masters(): Promise<readonly RedisProcess[]> {
    const alive = this.servers.filter((each) => each.alive)
    const roles = await Promise.all(alive.map(async (each) => ((await each.admin.role()) as string[])[0]))
    return alive.filter((_, i) => roles[i] === 'master')
  }

  async slotOf(key: string): Promise<number> {
    return this.#alive.admin.cluster('KEYSLOT', key)
  }

  /**
   * Moves a slot with all its keys, while everybody goes on writing to it. One at a time: MIGRATE blocks both servers, and
   * two that migrate to each other would wait for each other.
   */
  moveSlot(slot: number, to: number): Promise<void> {
    const moved = this.#moving.then(() => this.#move(slot, to))
    this.#moving = moved.catch(() => {})
    return moved
  }

  async #move(slot: number, to: number): Promise<void> {
    const [source, target] = [this.#members[await this.#agreedHolder(slot)], this.#members[to]]
    if (source === undefined || target === undefined || source === target) return
    await target.process.admin.cluster('SETSLOT', slot, 'IMPORTING', source.id)
    await source.process.admin.cluster('SETSLOT', slot, 'MIGRATING', target.id)
    for (;;) {
      const keys = (await source.process.admin.cluster('GETKEYSINSLOT', slot, 100)) as string[]
      if (keys.length === 0) break
      await source.process.admin.migrate(LOOPBACK, target.process.port, '', 0, 5_000, 'KEYS', ...keys)
    }
    for (const { process } of [target, source, ...this.#members.filter((each) => each !== source && each !== target)]) {
      // A replica learns it from its master.
      if (process.alive) await process.admin.cluster('SETSLOT', slot, 'NODE', target.id).catch(ignoreReplica)
    }
  }

  /**
   * Kills a master. Its replica takes its place, without what it has missed: by hand at once, or when the others find the
   * master dead. Resolves when all agree.
   */
  async loseMaster(master: number, promoted: 'by hand' | 'by itself'): Promise<void> {
    const replica = this.#members[MASTERS + master]
    if (replica === undefined) throw new Error('this Cluster has no replicas')
    await this.#members[master]?.process.kill()
    if (promoted === 'by hand') await replica.process.admin.cluster('FAILOVER', 'TAKEOVER')
    await this.untilPromoted(master)
  }

  /** The others agree that this master's replica has taken its place; what it says itself, if it is there, does not count. */
  async untilPromoted(master: number): Promise<void> {
    const replica = this.#members[MASTERS + master]
    if (replica === undefined) throw new Error('this Cluster has no replicas')
    await this.#untilAll(async ({ process }) => {
      const nodes = String(await process.admin.cluster('NODES')).split('\n')
      return nodes.some(
        (line) =>
          line.startsWith(replica.id) && line.includes('master') && line.includes('-', line.indexOf('connected')),
      )
    })
  }

  /** All servers see the same masters, and none of them as lost. */
  async untilAgreed(): Promise<void> {
    await until(async () => {
      const views = await Promise.all(
        this.#members.map(({ process }) => process.admin.cluster('NODES') as Promise<string>),
      )
      return new Set(views.map(epochsOf)).size === 1 && views.every((view) => !view.includes('fail'))
    })
  }

  async stop(): Promise<void> {
    await Promise.all(this.servers.map((each) => each.stop()))
    await rm(this.#dir, { recursive: true, force: true })
  }

  /**
   * Which server, by its place, has the slot, once all agree on that and on the epochs of all. Who moves slots on before
   * that may have a master claim a slot under too low an epoch, lose it again to gossip, and delete its keys.
   */
  async #agreedHolder(slot: number): Promise<number> {
    let ports = new Set<number | undefined>()
    await until(async () => {
      const masters = await this.masters()
      const nodes = await Promise.all(masters.map(({ admin }) => admin.cluster('NODES') as Promise<string>))
      if (new Set(nodes.map(epochsOf)).size > 1) return false
      const views = await Promise.all(masters.map(({ admin }) => admin.cluster('SLOTS')))
      const ranges = views as unknown as (readonly [number, number, [string, number]])[][]
      ports = new Set(ranges.map((view) => view.find(([from, to]) => slot >= from && slot <= to)?.[2][1]))
      return ports.size === 1
    })
    return this.servers.findIndex((each) => ports.has(each.port))
  }

  get #alive(): RedisProcess {
    const alive = this.servers.find((each) => each.alive)
    if (alive === undefined) throw new Error('no server of the Cluster is left')
    return alive
  }

  async #join(ports: readonly number[]): Promise<void> {
    for (const [i, { process }] of this.#members.entries()) {
      await process.admin.cluster('SET-CONFIG-EPOCH', i + 1)
      if (i < MASTERS) {
        const from = Math.floor((i * SLOTS) / MASTERS)
        await process.admin.cluster('ADDSLOTSRANGE', from, Math.floor(((i + 1) * SLOTS) / MASTERS) - 1)
      }
      for (let j = 0; j < i; j++)
        await process.admin.call('CLUSTER', 'MEET', LOOPBACK, ports[2 * j] ?? 0, ports[2 * j + 1] ?? 0)
    }
    const count = this.#members.length
    await this.#untilAll(async ({ process }) => {
      const info = await process.admin.cluster('INFO')
      return info.includes('cluster_state:ok') && info.includes(`cluster_known_nodes:${count}`)
    })
    for (const [i, { process }] of this.#members.entries()) {
      if (i >= MASTERS) await process.admin.cluster('REPLICATE', this.#members[i - MASTERS]?.id ?? '')
    }
    await this.#untilAll(async ({ process }) => {
      const info = await process.admin.info('replication')
      return info.includes('role:master') ? true : info.includes('master_link_status:up')
    })
  }

  async #untilAll(holds: (member: Member) => Promise<boolean>): Promise<void> {
    await until(async () => {
      const alive = this.#members.filter(({ process }) => process.alive)
      return (await Promise.all(alive.map(holds))).every(Boolean)
    })
  }
}

/** Each node and its epoch, as one node sees them. */
function epochsOf(nodes: string): string {
  const fields = nodes
    .trim()
    .split('\n')
    .map((line) => line.split(' '))
  return fields
    .map((of) => `${of[0]} ${of[6]}`)
    .sort()
    .join()
}

async function startMember(dir: string, port: number, busPort: number): Promise<Member> {
  await mkdir(dir)
  const place = ['--bind', LOOPBACK, '--port', String(port), '--cluster-port', String(busPort), '--dir', dir]
  const cluster = [
    '--cluster-enabled',
    'yes',
    '--cluster-node-timeout',
    '1500',
    '--cluster-require-full-coverage',
    'no',
  ]
  const data = ['--appendonly', 'yes', '--save', '', '--repl-diskless-sync-delay', '0']
  const process = new RedisProcess({ host: LOOPBACK, port }, [...place, ...cluster, ...data])
  await process.start()
  return { process, id: await process.admin.cluster('MYID') }
}

function ignoreReplica(error: Error): void {
  if (!error.message.includes('only with masters')) throw error
}
