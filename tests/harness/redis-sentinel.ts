/** A master, its replica, and three Sentinels that watch over them: all real, on loopback. */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { freePorts, LOOPBACK, RedisProcess, until } from './redis-process.ts'

const NAME = 'fleet'
const SENTINELS = 3

export class TestSentinels {
  readonly master: RedisProcess
  readonly replica: RedisProcess
  readonly #sentinels: readonly RedisProcess[]
  readonly #dir: string

  private constructor(dir: string, master: RedisProcess, replica: RedisProcess, sentinels: readonly RedisProcess[]) {
    this.#dir = dir
    this.master = master
    this.replica = replica
    this.#sentinels = sentinels
  }

  static async start(): Promise<TestSentinels> {
    const dir = await mkdtemp(join(tmpdir(), 'tf-sentinel-'))
    const [masterPort = 0, replicaPort = 0, ...sentinelPorts] = await freePorts(2 + SENTINELS)
    const master = await startServer(join(dir, 'master'), masterPort)
    const replica = await startServer(join(dir, 'replica'), replicaPort, '--replicaof', LOOPBACK, String(masterPort))
    await until(async () => (await replica.admin.info('replication')).includes('master_link_status:up'))
    const sentinels = await Promise.all(sentinelPorts.map((port) => startSentinel(dir, port, masterPort)))
    const setup = new TestSentinels(dir, master, replica, sentinels)
    await setup.#untilAllKnow()
    return setup
  }

  get url(): string {
    return `redis+sentinel://${this.#sentinels.map(({ port }) => `${LOOPBACK}:${port}`).join(',')}/${NAME}`
  }

  /** Kills the master, and resolves when the Sentinels have put the replica in its place. */
  async failover(): Promise<void> {
    await this.master.kill()
    await until(async () => ((await this.replica.admin.role()) as string[])[0] === 'master')
  }

  async stop(): Promise<void> {
    await Promise.all([...this.#sentinels, this.replica, this.master].map((each) => each.stop()))
    await rm(this.#dir, { recursive: true, force: true })
  }

  /** Only Sentinels that know each other and the replica can agree on a failover. */
  async #untilAllKnow(): Promise<void> {
    for (const { admin } of this.#sentinels) {
      await until(async () => {
        const fields = (await admin.call('SENTINEL', 'MASTER', NAME)) as string[]
        const value = (field: string): number => Number(fields[fields.indexOf(field) + 1])
        return value('num-other-sentinels') === SENTINELS - 1 && value('num-slaves') === 1
      })
    }
  }
}

export async function startServer(dir: string, port: number, ...args: string[]): Promise<RedisProcess> {
  await mkdir(dir)
  const place = ['--bind', LOOPBACK, '--port', String(port), '--dir', dir]
  const server = new RedisProcess({ host: LOOPBACK, port }, [
    ...place,
    '--appendonly',
    'yes',
    '--save',
    '',
    '--repl-diskless-sync-delay',
    '0',
    ...args,
  ])
  await server.start()
  return server
}

async function startSentinel(dir: string, port: number, masterPort: number): Promise<RedisProcess> {
  const file = join(dir, `sentinel-${port}.conf`)
  const settings = [
    `bind ${LOOPBACK}`,
    `port ${port}`,
    `sentinel monitor ${NAME} ${LOOPBACK} ${masterPort} 2`,
    `sentinel down-after-milliseconds ${NAME} 1000`,
    `sentinel failover-timeout ${NAME} 5000`,
  ]
  await writeFile(file, settings.join('\n'))
  const sentinel = new RedisProcess({ host: LOOPBACK, port }, [file, '--sentinel', '--dir', dir])
  await sentinel.start()
  return sentinel
}
