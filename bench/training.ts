/**
 * What orchestration costs. Images a second of a fleet with one worker and with two (real processes, a real Redis, the
 * CNN of the facts on MNIST, two replicas), beside a plain tfjs loop in one process on the same back end and machine.
 * A fleet's figure is taken between the ends of its first and of its last round, so that starting up is left out.
 */
import { execFile } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { Api } from '../cli/api.ts'
import { Child } from '../cli/child.ts'
import { DataDir } from '../cli/data-dir.ts'
import type { JobView } from '../machines/views.ts'
import type { Benchmark } from './bench.ts'
import { CNN } from './plain-training.ts'

const BATCH = 128
const REPLICAS = 2
const LOCAL_STEPS = 25
const PLAIN_STEPS = 150

export const run: Benchmark = async (say) => {
  say('a plain tfjs loop …')
  const plain = await plainLoop()
  say(`  ${Math.round(plain.plainPerS)} images/s on ${plain.backend}`)
  const fleet1 = await fleet(1, say)
  const fleet2 = await fleet(2, say)
  return {
    backend: plain.backend,
    plain_per_s: Math.round(plain.plainPerS),
    fleet1_per_s: Math.round(fleet1),
    fleet2_per_s: Math.round(fleet2),
    fleet1_to_plain: ratio(fleet1, plain.plainPerS),
    fleet2_to_fleet1: ratio(fleet2, fleet1),
  }
}

/** In a process of its own, as the kernels are in theirs. */
async function plainLoop(): Promise<{ backend: string; plainPerS: number }> {
  const script = fileURLToPath(new URL('./plain-training.ts', import.meta.url))
  const { stdout } = await promisify(execFile)(process.execPath, [script, 'auto', String(PLAIN_STEPS)])
  return JSON.parse(stdout.trim().split('\n').at(-1) ?? '') as { backend: string; plainPerS: number } // our own script
}

async function fleet(workers: number, say: (line: string) => void): Promise<number> {
  say(`a fleet with ${workers} worker${workers === 1 ? '' : 's'} …`)
  const folder = await mkdtemp(join(tmpdir(), 'tf-bench-'))
  const ready = Promise.withResolvers<void>()
  const up = new Child({
    name: 'fleet',
    command: process.execPath,
    args: [
      fileURLToPath(new URL('../cli/tensorfleet.ts', import.meta.url)),
      'up',
      '--data',
      folder,
      '--port',
      '0',
      '--workers',
      String(workers),
    ],
    env: { ...process.env, REDIS_URL: '' },
    onLine: (line) => {
      if (line.includes('The fleet is up')) ready.resolve()
    },
    onExit: () => ready.reject(new Error('the fleet did not start')),
  })
  try {
    await up.start()
    await ready.promise
    const access = await DataDir.at(folder).readAccess()
    if (access === null) throw new Error('the fleet wrote no api.json')
    const perS = await throughput(new Api(access))
    say(`  ${Math.round(perS)} images/s`)
    return perS
  } finally {
    ready.promise.catch(() => {}) // stopping it ends it
    await up.stop()
    await rm(folder, { recursive: true, force: true })
  }
}

async function throughput(api: Api): Promise<number> {
  const spec = {
    name: 'bench',
    dataset: { name: 'mnist' },
    preprocess: [{ op: 'scale', factor: 1 / 255 }],
    model: CNN,
    train: {
      replicas: REPLICAS,
      epochs: 2,
      batchSize: BATCH,
      loss: 'sparseCategoricalCrossentropy',
      strategy: { kind: 'diloco', localSteps: LOCAL_STEPS },
    },
  }
  const { id } = await api.submit(JSON.stringify(spec), 'application/json')
  let first: JobView | null = null
  let last: JobView | null = null
  for await (const { event, data } of api.events(id, new AbortController().signal)) {
    if (event !== 'state') continue
    const job = JSON.parse(data) as JobView // typed by the views that the API shares with us
    if (job.state === 'failed') throw new Error(job.error?.message)
    if (job.state !== 'training' || job.progress.round === (last ?? first)?.progress.round) continue
    if (job.progress.round >= 1) first ??= job
    last = job
  }
  if (first === null || last === null) throw new Error('the job had no rounds')
  const images = (last.progress.step - first.progress.step) * BATCH * REPLICAS
  return (images * 1_000) / (last.changedAt - first.changedAt)
}

function ratio(a: number, b: number): number {
  return Math.round((a / b) * 100) / 100
}
