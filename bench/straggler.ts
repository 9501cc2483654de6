/**
 * What a straggler costs. A fleet of three workers (real processes, a real Redis) trains a job of two replicas; then the
 * kernel of a worker that has a task is stopped nine tenths of the time, so that it is ten times slower. Its first round
 * should last as long as it takes to see that the task is late, plus the run of its twin elsewhere; later ones should be
 * as short as before, since the scheduler spares the worker.
 */
import { readdir, readFile } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Api } from '../cli/api.ts'
import type { Benchmark } from './bench.ts'
import { startFleet, viewsOf } from './fleet.ts'
import { CNN } from './plain-training.ts'

const WARM_ROUNDS = 3
const CALM_ROUNDS = 5
const LATER_ROUNDS = 8
/** H of DiLoCo, and of the other benchmarks. */
const LOCAL_STEPS = 50
const PERIOD_MS = 100
const SLOWNESS = 10

export const run: Benchmark = async (say) => {
  await using fleet = await startFleet(3)
  const stop = new AbortController()
  const { id } = await fleet.api.submit(JSON.stringify(SPEC), 'application/json')
  const times: number[] = []
  let startedAt = 0
  let round = 0
  let slowing: Promise<void> | null = null
  try {
    for await (const { state, progress } of viewsOf(fleet.api, id)) {
      if (state !== 'training' || progress.round <= round) continue
      round = progress.round
      const now = performance.now()
      if (round > WARM_ROUNDS) times.push(now - startedAt)
      startedAt = now
      say(`  round ${round}${round > WARM_ROUNDS ? `: ${Math.round(times.at(-1) ?? 0)} ms` : ''}`)
      if (times.length === CALM_ROUNDS) slowing = slowDown(await aBusyWorker(fleet.api), stop.signal, say)
      if (times.length === CALM_ROUNDS + 1 + LATER_ROUNDS) break
    }
  } finally {
    stop.abort()
    await slowing
  }
  const calmMs = median(times.slice(0, CALM_ROUNDS))
  const later = times.slice(CALM_ROUNDS + 1)
  return {
    round_ms: Math.round(calmMs),
    first_round_ratio: ratio(times[CALM_ROUNDS] ?? Infinity, calmMs),
    later_round_ratio: ratio(later.reduce((sum, each) => sum + each, 0) / later.length, calmMs),
  }
}

const SPEC = {
  name: 'straggler',
  dataset: { name: 'mnist' },
  preprocess: [{ op: 'scale', factor: 1 / 255 }],
  model: CNN,
  train: {
    replicas: 2,
    epochs: 1_000,
    batchSize: 128,
    loss: 'sparseCategoricalCrossentropy',
    strategy: { kind: 'diloco', localSteps: LOCAL_STEPS },
  },
}

async function aBusyWorker(api: Api): Promise<string> {
  for (;;) {
    const busy = (await api.workers()).find(({ state }) => state === 'busy')
    if (busy !== undefined) return busy.id
    await sleep(5)
  }
}

/** Lets the worker's kernels run a tenth of the time, those that are started later too, until the signal aborts. */
async function slowDown(worker: string, signal: AbortSignal, say: (line: string) => void): Promise<void> {
  say(`  ${worker} becomes ${SLOWNESS} times slower`)
  while (!signal.aborted) {
    const pids = await kernelsOf(worker)
    send(pids, 'SIGSTOP')
    await sleep(PERIOD_MS * (1 - 1 / SLOWNESS))
    send(pids, 'SIGCONT')
    await sleep(PERIOD_MS / SLOWNESS)
  }
}

function send(pids: readonly number[], signal: NodeJS.Signals): void {
  for (const pid of pids) {
    try {
      process.kill(pid, signal)
    } catch {
      // it has ended meanwhile
    }
  }
}

/** A worker's id is in the paths of its kernels' folders. */
async function kernelsOf(worker: string): Promise<number[]> {
  const pids = (await readdir('/proc')).map(Number).filter((pid) => Number.isInteger(pid))
  const found = await Promise.all(
    pids.map(async (pid) => {
      const words = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '') // gone in between
      return words.includes('--permission') && words.includes(`/workers/${worker}/`) ? [pid] : []
    }),
  )
  return found.flat()
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0
}

function ratio(a: number, b: number): number {
  return Math.round((a / b) * 100) / 100
}
