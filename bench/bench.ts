/**
 * `npm run bench -- NAME [--json]`: runs one benchmark. Progress goes to stderr; the last line of stdout is one JSON
 * object with the figures. Figures of one run compare with each other (each has its peer or its limit beside it); those
 * of different machines, or of different hours on a shared one, do not.
 */
import { parseArgs } from 'node:util'
import { stopWhenInterrupted } from './started.ts'

/** A benchmark returns its figures by name; `say` tells a person what is going on. */
export type Benchmark = (
  say: (line: string) => void,
  options: BenchmarkOptions,
) => Promise<Readonly<Record<string, unknown>>>

export interface BenchmarkOptions {
  /** Of those that compute: `--backend`. */
  readonly backend: string
  /** Of those that last as long as they are told to: `--minutes`. */
  readonly minutes: number
  /** Of those that train: `--seed`. */
  readonly seed: number
}

const BENCHMARKS: Readonly<Record<string, { about: string; load: () => Promise<{ run: Benchmark }> }>> = {
  runtime: {
    about: 'durable messages a second through XState actors, and the time of an ask, beside BullMQ and a raw loop',
    load: () => import('./runtime.ts'),
  },
  transitions: {
    about: 'transitions a second by the compiled table and by XState, without Redis',
    load: () => import('./transitions.ts'),
  },
  actors: {
    about: 'what an idle actor costs in Redis and in memory, at ten thousand and at a million of them',
    load: () => import('./actors.ts'),
  },
  timers: {
    about: 'how late timers fire when ten thousand are due each second, and whether one is lost or fires twice',
    load: () => import('./timers.ts'),
  },
  recovery: {
    about:
      'how long a shard is without an owner when one leaves or is killed under load, and whether a message is lost or doubled',
    load: () => import('./recovery.ts'),
  },
  soak: {
    about: 'whether memory, Redis and every count stay as they should through ten minutes of steady load',
    load: () => import('./soak.ts'),
  },
  strategies: {
    about: 'accuracy and bytes of sync, diloco and diloco with int8 deltas, on MNIST with two workers',
    load: () => import('./strategies.ts'),
  },
  scheduling: {
    about: 'how long a free slot waits for its task at 100 and at 10,000 queued ones, and a thousand jobs at once',
    load: () => import('./scheduling.ts'),
  },
  ingest: {
    about: 'megabytes a second of files that become shards, by format, beside the disk alone',
    load: () => import('./ingest.ts'),
  },
  streaming: {
    about: 'memory of a kernel process that trains on 2 GB of data, in the windowed order',
    load: () => import('./streaming.ts'),
  },
  straggler: {
    about: 'how much longer a round takes when a worker becomes ten times slower, and those after it',
    load: () => import('./straggler.ts'),
  },
  sweep: {
    about: 'what successive halving finds and what it costs, beside the whole grid, with 32 networks on MNIST',
    load: () => import('./sweep.ts'),
  },
  training: {
    about: 'images a second of a fleet with one worker and with two, by diloco and sync, beside a plain tfjs loop',
    load: () => import('./training.ts'),
  },
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    json: { type: 'boolean', default: false },
    backend: { type: 'string', default: 'auto' },
    minutes: { type: 'string', default: '10' },
    seed: { type: 'string', default: '1' },
  },
})
const minutes = Number(values.minutes)
const seed = Number(values.seed)
const [name = ''] = positionals
const benchmark = BENCHMARKS[name]
if (benchmark === undefined) {
  process.stderr.write('Usage: npm run bench -- NAME [--json]\n\n')
  for (const [each, { about }] of Object.entries(BENCHMARKS)) process.stderr.write(`  ${each.padEnd(12)}${about}\n`)
  process.exitCode = name === '' ? 0 : 2
} else if (!Number.isSafeInteger(seed) || seed < 0) {
  process.stderr.write(`--seed: expected a whole number, 0 or more, found "${values.seed}"\n`)
  process.exitCode = 2
} else if (!(minutes > 0)) {
  process.stderr.write(`--minutes: expected a number above 0, found "${values.minutes}"\n`)
  process.exitCode = 2
} else {
  stopWhenInterrupted()
  const { run } = await benchmark.load()
  const say = (line: string): void => {
    if (!values.json) process.stderr.write(`${line}\n`)
  }
  const figures = await run(say, { backend: values.backend, minutes, seed })
  if (!values.json)
    for (const [key, value] of Object.entries(figures)) process.stderr.write(`  ${key.padEnd(28)}${String(value)}\n`)
  process.stdout.write(`${JSON.stringify(figures)}\n`)
}
