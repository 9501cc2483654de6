/**
 * Shows a sweep while it runs: on a terminal a bar and the leaders, elsewhere a line whenever a trial comes to a rung or
 * an end, and for each tenth of the steps. What it shows comes from the sweep's events alone.
 */
import { styleText } from 'node:util'
import { createLogUpdate } from 'log-update'
import type { SweepView } from '../machines/sweep-spec.ts'
import type { Api } from './api.ts'
import { barOf } from './bar.ts'
import { CliError, EXIT } from './errors.ts'
import { duration, fixed, print, printEvent, table } from './output.ts'

/** Of a live display: more would not stand still. */
const LEADERS = 5

/** Follows a sweep to its end, and throws when that is not a good one. */
export async function watchSweepToEnd(
  api: Api,
  id: string,
  options: { readonly json?: boolean },
  signal: AbortSignal,
): Promise<void> {
  const show = options.json === true ? jsonDisplay() : process.stderr.isTTY ? liveDisplay() : plainDisplay()
  let sweep = await api.sweep(id)
  show.sweep(sweep)
  try {
    for await (const { event, data } of api.sweepEvents(id, signal)) {
      if (event !== 'state') continue
      sweep = JSON.parse(data) as SweepView // the API's events are typed by the views it shares with us
      show.sweep(sweep)
    }
  } finally {
    show.end()
  }
  if (signal.aborted) {
    const message = `Interrupted. The sweep goes on: see it again with "tensorfleet sweep show ${id} --follow"`
    throw new CliError(message, { exitCode: EXIT.interrupted })
  }
  const { state, error } = await api.sweep(id)
  if (state !== 'completed') {
    const reason = error === undefined ? '' : `: ${error.message}`
    throw new CliError(`Sweep ${id} ${state === 'failed' ? 'failed' : `was ${state}`}${reason}`, { exitCode: EXIT.failed }) // prettier-ignore
  }
  if (options.json !== true) print(summary(sweep))
}

/** The trials of a sweep, the best one first. */
export function leaderboardText({ leaderboard, spec }: SweepView, limit: number): string {
  const paths = Object.keys(spec.parameters)
  const hasErrors = leaderboard.some(({ error }) => error !== undefined)
  const rows = leaderboard
    .slice(0, limit)
    .map(({ trial, state, value, rungs, round, step, parameters, error }) => [
      String(trial),
      state,
      fixed(value),
      ...(spec.scheduler.kind === 'asha' ? [String(rungs)] : []),
      String(round),
      String(step),
      ...paths.map((path) => JSON.stringify(parameters[path])),
      ...(hasErrors ? [error?.message ?? ''] : []),
    ])
  const rungs = spec.scheduler.kind === 'asha' ? ['RUNGS'] : []
  return table(['TRIAL', 'STATE', spec.metric.toUpperCase(), ...rungs, 'ROUND', 'STEP', ...paths.map(shortName), ...(hasErrors ? [''] : [])], rows) // prettier-ignore
}

/** The last word of a path. */
function shortName(path: string): string {
  return path.split('.').at(-1) ?? path
}

interface Display {
  sweep(sweep: SweepView): void
  end(): void
}

function jsonDisplay(): Display {
  return {
    sweep: (sweep) => printEvent('state', { sweep }),
    end: () => {},
  }
}

function liveDisplay(): Display {
  const draw = createLogUpdate(process.stderr)
  return {
    sweep: (sweep) => draw(`${headLine(sweep)}\n${indented(leaderboardText(sweep, LEADERS))}`),
    end: () => draw.done(),
  }
}

/** Lines for steps alone are at most so many. */
const PARTS = 10

function plainDisplay(): Display {
  let said = ''
  return {
    sweep: (sweep) => {
      const { name, state, progress, best } = sweep
      const { trials, running, waiting, completed, stopped, failed, steps, stepsPlanned } = progress
      const found = best?.value === undefined ? '' : `, best ${fixed(best.value)} (trial ${best.trial})`
      const line = `${name}: ${state}, ${completed + stopped + failed} of ${trials} ended, ${running} running, ${waiting} waiting` // prettier-ignore
      const key = `${line} ${stepsPlanned === 0 ? 0 : Math.floor((PARTS * steps) / stepsPlanned)}`
      if (key !== said) process.stderr.write(`${line}, ${steps} of ${stepsPlanned} steps${found}\n`)
      said = key
    },
    end: () => {},
  }
}

function headLine({ name, state, progress }: SweepView): string {
  const { trials, running, waiting, completed, stopped, failed, cancelled, steps, stepsPlanned } = progress
  const ended = completed + stopped + failed + cancelled
  const facts = `${ended}/${trials} trials  ·  ${running} running  ·  ${waiting} waiting  ·  ${steps}/${stepsPlanned} steps`
  return `  ${styleText('bold', name)}  ${state}\n  ${barOf(stepsPlanned === 0 ? 0 : steps / stepsPlanned)}  ${styleText('dim', facts)}`
}

function indented(text: string): string {
  return text.replaceAll(/^/gm, '  ')
}

function summary(sweep: SweepView): string {
  const { name, best, model, progress, createdAt, endedAt, changedAt, leaderboard } = sweep
  const took = duration((endedAt ?? changedAt) - createdAt)
  const winner = leaderboard.find(({ trial }) => trial === best?.trial)
  const values = Object.entries(winner?.parameters ?? {}).map(([path, value]) => `${path} = ${JSON.stringify(value)}`)
  return [
    `${styleText('green', '✔')} ${name} completed in ${took}: ${progress.trials} trials, ${progress.steps} steps`,
    `  best      trial ${best?.trial} (job ${best?.job}), ${sweep.spec.metric} ${fixed(best?.value)}`,
    ...values.map((value) => `            ${value}`),
    ...(model === undefined ? [] : [`  model     ${model.name}@${model.version}`]),
  ].join('\n')
}
