/**
 * The four charts together, without a runtime: every message waits in a line per sender and receiver, and chance says
 * which line moves next, which effect ends, which worker dies. Whatever it says, the job ends with the same weights.
 */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { JobContext } from '../../machines/job-parts.ts'
import { taskMachine } from '../../machines/task.ts'
import type { ReduceInput } from '../../machines/training.ts'
import type { RunInput } from '../../machines/worker.ts'
import { Chart, FAULTS, newJob, newPage, newScheduler, newWorker, PLAN, SPEC } from './chart.ts'

const blob = (sha256: string): { sha256: string; sizeBytes: number } => ({ sha256, sizeBytes: 1 })

/** What the real effects are: functions of their input. */
function outputOf(src: string, input: unknown): unknown {
  switch (src) {
    case 'validate':
      return null
    case 'prepare':
      return PLAN
    case 'open':
      return { backend: 'wasm', fingerprint: 'f1', gpus: [] }
    case 'reduce': {
      const { weights, replicas } = input as ReduceInput
      return {
        weights: blob(`(${weights}:${replicas.map(({ sha256 }) => sha256).join('+')})`),
        update: null,
        outerState: null,
      }
    }
    case 'score':
      return { loss: 0.1, accuracy: 0.9, examples: 20, report: blob('r') }
    case 'register':
      return { name: 'digits', version: 1 }
    default:
      return runOf(input as RunInput)
  }
}

function runOf({ work }: RunInput): unknown {
  switch (work.kind) {
    case 'initialise':
      return { kind: 'initialise', weights: blob('w'), elapsedMs: 1 }
    case 'evaluate':
      return { kind: 'evaluate', slice: work.slice, sums: blob(`s${work.slice}`), elapsedMs: 1 }
    case 'round': {
      const { round, replica, weights, optimizerState } = work
      const name = `${weights.length}.${optimizerState ?? '-'}.${replica}.${round}`
      return {
        kind: 'round',
        round,
        replica,
        weights: blob(`w${name}`),
        optimizerState: blob(`o${name}`),
        kernelMs: 7,
        moved: { exchangeBytes: 3, stateBytes: 5 },
        loss: 1,
        firstLoss: 1,
        examples: 1,
        elapsedMs: 1,
      }
    }
  }
}

interface Message {
  readonly to: string
  readonly event: { readonly type: string }
}

class Fleet {
  readonly charts = new Map<string, Chart>()
  readonly lines = new Map<string, Message[]>()
  readonly dead = new Set<string>()
  workers = 0
  /** Every task that runs may prove slow. */
  isSlow = false

  constructor() {
    this.add('scheduler/default', newScheduler())
    this.add('job/J', newJob(SPEC))
  }

  get job(): Chart {
    return this.chart('job/J')
  }

  chart(name: string): Chart {
    const chart = this.charts.get(name)
    if (chart === undefined) throw new Error(`no ${name}`)
    return chart
  }

  add(name: string, chart: Chart): void {
    this.charts.set(name, chart)
    this.carry(name, chart)
  }

  join(slots: number): void {
    this.workers += 1
    this.add(`worker/${this.workers}`, newWorker(String(this.workers), slots))
  }

  /** Takes what the last step of a chart wanted done to its consequences. */
  carry(from: string, chart: Chart): void {
    for (const { to, input } of chart.spawned) {
      if (this.charts.has(to)) continue
      this.add(to, to.startsWith('page/') ? newPage(input) : new Chart('task', taskMachine, input))
    }
    for (const message of chart.told) {
      const line = `${from} ${message.to}`
      this.lines.set(line, [...(this.lines.get(line) ?? []), message])
    }
  }

  /** What could happen next, in a fixed order. */
  get moves(): (() => void)[] {
    const moves: (() => void)[] = []
    for (const [line, [first, ...rest]] of this.lines) {
      if (first === undefined) continue
      moves.push(() => {
        this.lines.set(line, rest)
        const chart = this.charts.get(first.to)
        if (chart) this.carry(first.to, chart.send(first.event))
      })
    }
    for (const [name, chart] of this.charts) {
      if (this.dead.has(name)) continue
      for (const [id, { src, input }] of chart.effects) {
        moves.push(() => this.carry(name, chart.finish(id, outputOf(src, input))))
      }
    }
    if (this.isSlow) moves.push(...this.slowness)
    return moves
  }

  get slowness(): (() => void)[] {
    return [...this.charts].flatMap(([name, chart]) =>
      chart.timers.has('slowLimit') ? [() => this.carry(name, chart.after('slowLimit'))] : [],
    )
  }

  /** The process of a worker dies: its effects are lost, and whoever adopts it says so. */
  kill(nth: number): void {
    const alive = [...this.charts.keys()].filter((name) => name.startsWith('worker/') && !this.dead.has(name))
    const name = alive[nth % Math.max(1, alive.length)]
    if (name === undefined) return
    this.dead.add(name)
    const chart = this.chart(name)
    for (const id of Array.from(chart.effects.keys())) this.carry(name, chart.fail(id, FAULTS.lost))
    this.carry(name, chart.send({ type: 'owner.lost' }))
    this.join(1)
  }

  /** Workers that compute more tasks at once than they have slots. */
  get overloaded(): string[] {
    return [...this.charts]
      .filter(
        ([name, chart]) =>
          name.startsWith('worker/') && chart.effects.size > (chart.context as { slots: number }).slots,
      )
      .map(([name]) => name)
  }

  /** Runs by `chance` until nothing moves; numbers above `killAbove` kill a worker instead. */
  run(chance: readonly number[], kills: number): this {
    let left = kills
    for (let i = 0; ; i++) {
      const { moves } = this
      // Where nothing moves, time does: the pauses before a retry, and a registration that was lost.
      if (moves.length === 0 && !this.pass()) return this
      const number = chance[i % chance.length] ?? 0
      if (left > 0 && number % 23 === 0) {
        left -= 1
        this.kill(number)
      } else {
        moves[(number * 31 + i) % moves.length]?.()
      }
      if (this.overloaded.length > 0) throw new Error(`too much for ${this.overloaded.join()}`)
      if (i > 20_000) throw new Error('the fleet never comes to rest')
    }
  }

  /** Lets the shortest wait end that is a pause and not a limit. */
  pass(): boolean {
    for (const [name, chart] of this.charts) {
      if (this.dead.has(name) && name.startsWith('worker/')) continue
      for (const timer of ['backoff', 'assignLimit']) {
        if (!chart.timers.has(timer)) continue
        this.carry(name, chart.after(timer))
        return true
      }
    }
    return false
  }
}

const chance = fc.array(fc.nat(1000), { minLength: 1, maxLength: 60 })
const weightsOf = (fleet: Fleet): string | undefined =>
  (fleet.job.context as JobContext).checkpoints.at(-1)?.weights.sha256
const undisturbed = (): Fleet => {
  const fleet = new Fleet()
  fleet.join(1)
  return fleet.run([0], 0)
}

describe('the fleet, whatever order things happen in', () => {
  test('a job comes to its end with the same weights, though workers die', () => {
    const expected = weightsOf(undisturbed())
    fc.assert(
      fc.property(
        chance,
        fc.array(fc.integer({ min: 1, max: 3 }), { minLength: 1, maxLength: 4 }),
        fc.nat(6),
        (numbers, slots, kills) => {
          const fleet = new Fleet()
          for (const count of slots) fleet.join(count)
          fleet.run(numbers, kills)
          expect(fleet.job.value).toBe('completed')
          expect(weightsOf(fleet)).toBe(expected)
        },
      ),
      { numRuns: 150 },
    )
  })

  test('a job that is paused at any moment and goes on comes to the same weights', () => {
    const expected = weightsOf(undisturbed())
    fc.assert(
      fc.property(chance, fc.nat(80), fc.nat(3), fc.boolean(), (numbers, after, kills, isUrgent) => {
        const fleet = new Fleet()
        fleet.join(1)
        fleet.join(1)
        for (let i = 0; i < after; i++)
          fleet.moves[(numbers[i % numbers.length] ?? 0) % Math.max(1, fleet.moves.length)]?.()
        fleet.carry('job/J', fleet.job.send({ type: 'pause', isUrgent } as never))
        fleet.run(numbers, kills)
        // A job asked too late (it registers) has not paused; one that was paused has nothing under way.
        const others = [...fleet.charts].filter(([name]) => name.startsWith('task/'))
        expect(others.filter(([, task]) => task.status !== 'done')).toEqual([])
        fleet.carry('job/J', fleet.job.send({ type: 'resume' }))
        fleet.run(numbers, 0)
        expect(fleet.job.value).toBe('completed')
        expect(weightsOf(fleet)).toBe(expected)
      }),
      { numRuns: 150 },
    )
  })

  test('a job some of whose tasks have twins comes to the same weights, and no twin runs on', () => {
    const expected = weightsOf(undisturbed())
    fc.assert(
      fc.property(chance, fc.nat(2), (numbers, kills) => {
        const fleet = new Fleet()
        for (let i = 0; i < 3; i++) fleet.join(1)
        fleet.isSlow = true
        fleet.run(numbers, kills)
        expect(fleet.job.value).toBe('completed')
        expect(weightsOf(fleet)).toBe(expected)
        const running = [...fleet.charts].filter(([name, chart]) =>
          name.startsWith('task/') ? chart.status !== 'done' : chart.effects.size > 0,
        )
        expect(running.map(([name]) => name)).toEqual([])
      }),
      { numRuns: 150 },
    )
  })

  test('when all is done, the scheduler remembers nothing but its workers', () => {
    fc.assert(
      fc.property(chance, fc.nat(4), (numbers, kills) => {
        const fleet = new Fleet()
        fleet.join(2)
        fleet.join(1)
        fleet.run(numbers, kills)
        const { book } = fleet.chart('scheduler/default').context as { book: object }
        expect(book).toMatchObject({ queues: {}, owners: {}, gangs: {}, placed: {} })
      }),
      { numRuns: 100 },
    )
  })

  test('a job that is cancelled at any moment ends, and nothing of it runs on', () => {
    fc.assert(
      fc.property(chance, fc.nat(120), fc.nat(3), (numbers, after, kills) => {
        const fleet = new Fleet()
        fleet.join(1)
        fleet.join(1)
        for (let i = 0; i < after; i++)
          fleet.moves[(numbers[i % numbers.length] ?? 0) % Math.max(1, fleet.moves.length)]?.()
        fleet.carry('job/J', fleet.job.send({ type: 'cancel' }))
        fleet.run(numbers, kills)
        expect(['cancelled', 'completed']).toContain(fleet.job.value)
        const running = [...fleet.charts].filter(([name, chart]) =>
          name.startsWith('task/') ? chart.status !== 'done' : chart.effects.size > 0,
        )
        expect(running.map(([name]) => name)).toEqual([])
      }),
      { numRuns: 150 },
    )
  })
})
