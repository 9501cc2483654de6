/**
 * Shows a batch job while it runs: a bar with the rows that are done and the time left on a terminal, elsewhere a line
 * for each part that came. What it shows comes from the job's events alone.
 */
import { styleText } from 'node:util'
import { createLogUpdate } from 'log-update'
import type { BatchView } from '../machines/batch-spec.ts'
import type { LogLine } from '../machines/views.ts'
import type { Api } from './api.ts'
import type { CommonOptions } from './api-command.ts'
import { barOf } from './bar.ts'
import { summaryOf } from './batches.ts'
import { CliError, EXIT } from './errors.ts'
import { duration, print, printEvent } from './output.ts'
import { failureOf } from './watch.ts'

/** Follows a batch job to its end, and throws when that is not a good one. */
export async function watchBatch(
  api: Api,
  id: string,
  options: { readonly json?: boolean },
  signal: AbortSignal,
): Promise<BatchView> {
  const shown = options.json === true ? jsonDisplay() : process.stderr.isTTY ? liveDisplay() : plainDisplay()
  shown.job(await api.batch(id))
  try {
    for await (const { event, data } of api.batchEvents(id, signal)) {
      if (event === 'state') shown.job(JSON.parse(data) as BatchView) // typed by the views that the API shares with us
      else if (event === 'log') shown.log(JSON.parse(data) as LogLine)
    }
  } finally {
    shown.end()
  }
  if (signal.aborted) {
    const message = `Interrupted. The job goes on: see it again with "tensorfleet watch ${id}"`
    throw new CliError(message, { exitCode: EXIT.interrupted })
  }
  const job = await api.batch(id)
  const failure = failureOf(job)
  if (failure !== null) throw failure
  return job
}

/** `watch` on a batch job. */
export async function watchBatchToEnd(
  api: Api,
  id: string,
  options: CommonOptions,
  signal: AbortSignal,
): Promise<void> {
  const job = await watchBatch(api, id, options, signal)
  if (options.json !== true) print(summaryOf(job))
}

interface Display {
  job(job: BatchView): void
  log(line: LogLine): void
  end(): void
}

function jsonDisplay(): Display {
  return { job: (job) => printEvent('state', { job }), log: (line) => printEvent('log', line), end: () => {} }
}

function liveDisplay(): Display {
  const draw = createLogUpdate(process.stderr)
  const pace = new Pace()
  let last: BatchView | null = null
  const render = (): void => {
    if (last !== null) draw(frame(last, pace.leftMs(last)))
  }
  return {
    job: (job) => {
      last = job
      pace.see(job)
      render()
    },
    log: ({ source, message }) => {
      draw.clear()
      process.stderr.write(`  ${styleText('dim', source)}  ${message}\n`)
      render()
    },
    end: () => draw.done(),
  }
}

function frame({ name, state, progress, mode }: BatchView, leftMs: number | null): string {
  const { rows, rowsTotal, chunks, chunksTotal } = progress
  const facts = [
    `${rows}/${rowsTotal} rows`,
    `${chunks}/${chunksTotal} chunks`,
    ...(mode === undefined ? [] : [`on ${mode}`]),
    ...(leftMs === null ? [] : [`${duration(leftMs)} left`]),
  ]
  return `  ${styleText('bold', name)}  ${state}\n  ${barOf(rowsTotal === 0 ? 0 : rows / rowsTotal)}  ${styleText('dim', facts.join('  ·  '))}`
}

/** From when it was first seen to run: a job that is looked at again has done a part of its rows before. */
class Pace {
  #start: { readonly rows: number; readonly at: number } | null = null

  see({ state, progress: { rows } }: BatchView): void {
    if (state !== 'running') this.#start = null
    else this.#start ??= { rows, at: Date.now() }
  }

  leftMs({ progress: { rows, rowsTotal } }: BatchView): number | null {
    const done = rows - (this.#start?.rows ?? rows)
    return this.#start === null || done <= 0 ? null : ((Date.now() - this.#start.at) / done) * (rowsTotal - rows)
  }
}

/** Lines at most: a job of thousands of chunks does not scroll everything else away. */
const PARTS = 20

function plainDisplay(): Display {
  let said = ''
  return {
    job: ({ name, state, progress: { rows, rowsTotal, chunks, chunksTotal } }) => {
      const part = chunksTotal === 0 ? 0 : Math.floor((PARTS * chunks) / chunksTotal)
      const key = `${state} ${part}`
      if (key === said) return
      said = key
      const done = chunksTotal === 0 ? '' : `, ${rows} of ${rowsTotal} rows`
      process.stderr.write(`${name}: ${state}${done}\n`)
    },
    log: ({ source, message }) => void process.stderr.write(`${source}: ${message}\n`),
    end: () => {},
  }
}
