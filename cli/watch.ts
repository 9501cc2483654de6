/**
 * Shows a job while it runs: a progress bar with live loss, accuracy, speed and time left on a terminal, and a line for
 * each round elsewhere. What it shows comes from the job's events alone.
 */
import { styleText } from 'node:util'
import { createLogUpdate } from 'log-update'
import type { Evaluation } from '../machines/training.ts'
import type { JobView, LogLine, MetricLine } from '../machines/views.ts'
import type { Api } from './api.ts'
import { barOf } from './bar.ts'
import { CliError, EXIT } from './errors.ts'
import { duration, fixed, percent, printEvent } from './output.ts'

export interface WatchOptions {
  readonly signal: AbortSignal
  /** Each event as a line of JSON instead. */
  readonly json?: boolean
  readonly out?: NodeJS.WriteStream
}

/** Follows a job to its end and returns it as it ended; the job as it is when the signal aborts. */
export async function watchJob(api: Api, id: string, options: WatchOptions): Promise<JobView> {
  const out = options.out ?? process.stderr
  const shown: Display = options.json === true ? jsonDisplay() : out.isTTY ? liveDisplay(out) : plainDisplay(out)
  let job = await api.job(id)
  shown.job(job)
  try {
    for await (const { event, data } of api.events(id, options.signal)) {
      if (event === 'state') {
        job = JSON.parse(data) as JobView // the API's events are typed by the views it shares with us
        shown.job(job)
      } else if (event === 'metrics') shown.metric(JSON.parse(data) as MetricLine)
      else if (event === 'log') shown.log(JSON.parse(data) as LogLine)
    }
    return options.signal.aborted ? job : await api.job(id)
  } finally {
    shown.end()
  }
}

/** The error that a job's end means for whoever waited for it; null when it completed. */
export function failureOf(job: Pick<JobView, 'id' | 'error' | 'sweep'> & { readonly state: string }): CliError | null {
  if (job.state === 'failed') {
    const reason = job.error === undefined ? '' : `: ${job.error.message}`
    return new CliError(`Job ${job.id} failed${reason}`, { exitCode: EXIT.failed })
  }
  if (job.state === 'stopped') {
    const message = `Job ${job.id} was stopped by its sweep at rung ${job.sweep?.stoppedAt}`
    return new CliError(message, { exitCode: EXIT.failed })
  }
  if (job.state === 'cancelled') return new CliError(`Job ${job.id} was cancelled`, { exitCode: EXIT.failed })
  return null
}

interface Display {
  job(job: JobView): void
  metric(line: MetricLine): void
  log(line: LogLine): void
  end(): void
}

function jsonDisplay(): Display {
  return {
    job: (job) => printEvent('state', { job }),
    metric: (line) => printEvent('metrics', line),
    log: (line) => printEvent('log', line),
    end: () => {},
  }
}

/** What both displays for people know: the newest line of each replica, and when steps were seen to be done. */
class Progress {
  #job: JobView | null = null
  readonly #replicas = new Map<number, MetricLine>()
  #firstStep: { readonly step: number; readonly at: number } | null = null

  get job(): JobView | null {
    return this.#job
  }

  see(job: JobView): void {
    this.#job = job
    if (job.state === 'training') this.#firstStep ??= { step: job.progress.step, at: Date.now() }
  }

  add(line: MetricLine): void {
    this.#replicas.set(line.replica, line)
  }

  /** Steps done by every replica, those under way in this round included. */
  get step(): number {
    const { progress } = this.#job ?? { progress: { step: 0, round: 0 } }
    const under = [...this.#replicas.values()].filter((line) => line.round >= progress.round)
    const replicas = this.#job?.spec.train.replicas ?? 1
    const missing = replicas - under.length
    const mean = (under.reduce((sum, line) => sum + line.step, 0) + missing * progress.step) / replicas
    return Math.max(progress.step, Math.floor(mean))
  }

  get figures(): { loss?: number; accuracy?: number; perS: number } {
    const lines = [...this.#replicas.values()]
    if (lines.length === 0) return { ...this.#job?.metrics, perS: 0 }
    const mean = (of: (line: MetricLine) => number): number =>
      lines.reduce((sum, line) => sum + of(line), 0) / lines.length
    const accuracies = lines.filter((line) => line.accuracy !== undefined)
    return {
      loss: mean((line) => line.loss),
      ...(accuracies.length > 0 && { accuracy: mean((line) => line.accuracy ?? 0) }),
      perS: lines.reduce((sum, line) => sum + line.examplesPerS, 0),
    }
  }

  get leftMs(): number | null {
    const start = this.#firstStep
    const done = this.step - (start?.step ?? 0)
    if (start === null || this.#job === null || done <= 0) return null
    return ((Date.now() - start.at) / done) * (this.#job.progress.steps - this.step)
  }
}

const FRAME_MS = 125

function liveDisplay(out: NodeJS.WriteStream): Display {
  const progress = new Progress()
  const draw = createLogUpdate(out)
  const render = (): void => {
    if (progress.job !== null) draw(frame(progress, progress.job))
  }
  // Time left and the state's dots move although no event comes.
  const timer = setInterval(render, FRAME_MS)
  return {
    job: (job) => progress.see(job),
    metric: (line) => progress.add(line),
    log: (line) => {
      draw.clear()
      out.write(`  ${styleText('dim', line.source)}  ${line.message}\n`)
      render()
    },
    end: () => {
      clearInterval(timer)
      render()
      draw.done()
    },
  }
}

function frame(progress: Progress, job: JobView): string {
  const { loss, accuracy, perS } = progress.figures
  const { steps } = job.progress
  const step = job.state === 'completed' ? steps : progress.step
  const part = steps === 0 ? 0 : step / steps
  const bar = barOf(part)
  const state = job.phase === undefined ? job.state : `${job.state} (${job.phase})`
  const left = job.state === 'training' ? progress.leftMs : null
  const facts = [
    ...figuresOf({ loss, accuracy }, job),
    ...(job.state === 'training' && perS > 0 ? [`${Math.round(perS)} examples/s`] : []),
    ...(left === null ? [] : [`${duration(left)} left`]),
  ]
  const head = `  ${styleText('bold', job.name)}  ${state}`
  const at = `round ${job.progress.round}/${job.progress.rounds}  step ${step}/${steps}`
  return `${head}\n  ${bar} ${String(Math.round(part * 100)).padStart(3)} %  ${styleText('dim', at)}\n  ${facts.join('  ·  ')}`
}

/** Of the training, and how the newest checkpoint that was measured does on the validation split. */
function figuresOf(
  { loss, accuracy }: { readonly loss?: number | undefined; readonly accuracy?: number | undefined },
  { validation }: JobView,
): readonly string[] {
  return [
    `loss ${fixed(loss)}`,
    ...(accuracy === undefined ? [] : [`accuracy ${percent(accuracy)}`]),
    ...(validation === undefined ? [] : [`validation ${reachedOf(validation)}`]),
  ]
}

/** What says most of a model: accuracy of classes, R² of values; loss where there is neither. */
function reachedOf({ accuracy, r2, loss }: Evaluation): string {
  if (accuracy !== undefined) return percent(accuracy)
  return r2 === undefined ? `loss ${fixed(loss)}` : `R² ${fixed(r2)}`
}

function plainDisplay(out: NodeJS.WriteStream): Display {
  const progress = new Progress()
  let said = ''
  // The job's state is sent at each of its steps: what it means for a person is said once.
  const say = (key: string, text: string): void => {
    if (key !== said) out.write(`${text}\n`)
    said = key
  }
  return {
    job: (job) => {
      progress.see(job)
      const { round, rounds } = job.progress
      if (job.state !== 'training' || job.metrics === undefined) say(job.state, `${job.name}: ${job.state}`)
      else {
        const left = progress.leftMs
        const ends = left === null ? '' : `, ${duration(left)} left`
        const at = `round ${round}/${rounds}`
        say(at, `${job.name}: ${at}, ${figuresOf(job.metrics, job).join(', ')}${ends}`)
      }
    },
    metric: (line) => progress.add(line),
    log: (line) => void out.write(`${line.source}: ${line.message}\n`),
    end: () => {},
  }
}
