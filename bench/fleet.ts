/** A whole fleet for a benchmark: `tensorfleet up` with its own folder, Redis, control process and workers. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Api } from '../cli/api.ts'
import { Child } from '../cli/child.ts'
import { DataDir } from '../cli/data-dir.ts'
import type { JobView } from '../machines/views.ts'
import { owned } from './started.ts'

export interface BenchFleet extends AsyncDisposable {
  readonly api: Api
}

export async function startFleet(workers: number, args: readonly string[] = []): Promise<BenchFleet> {
  const folder = await mkdtemp(join(tmpdir(), 'tf-bench-'))
  const ready = Promise.withResolvers<void>()
  ready.promise.catch(() => {}) // an interruption may end the fleet before anybody waits for it
  const program = fileURLToPath(new URL('../cli/tensorfleet.ts', import.meta.url))
  const up = new Child({
    name: 'fleet',
    command: process.execPath,
    args: [program, 'up', '--data', folder, '--port', '0', '--workers', String(workers), ...args],
    env: { ...process.env, REDIS_URL: '' },
    onLine: (line) => {
      if (line.includes('The fleet is up')) ready.resolve()
    },
    onExit: () => ready.reject(new Error('the fleet did not start')),
  })
  const stop = owned(async () => {
    await up.stop()
    await rm(folder, { recursive: true, force: true })
  })
  try {
    await up.start()
    await ready.promise
    const access = await DataDir.at(folder).readAccess()
    if (access === null) throw new Error('the fleet wrote no api.json')
    return { api: new Api(access), [Symbol.asyncDispose]: stop }
  } catch (error) {
    await stop()
    throw error
  }
}

/** Every view of a job that its events tell, to its end. Throws when it fails. */
export async function* viewsOf(api: Api, id: string): AsyncGenerator<JobView> {
  for await (const { event, data } of api.events(id, new AbortController().signal)) {
    if (event !== 'state') continue
    const job = JSON.parse(data) as JobView // typed by the views that the API shares with us
    if (job.state === 'failed') throw new Error(`${job.name}: ${job.error?.message}`)
    yield job
  }
}

export async function trainToEnd(api: Api, spec: object): Promise<JobView> {
  const { id } = await api.submit(JSON.stringify(spec), 'application/json')
  let last: JobView | null = null
  for await (const job of viewsOf(api, id)) last = job
  if (last === null) throw new Error('the job said nothing')
  return last
}
