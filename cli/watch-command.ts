/** Following a job to its end, for the commands that may: what it came to is printed, or is the error of the command. */
import { styleText } from 'node:util'
import type { Evaluation } from '../machines/training.ts'
import type { JobView } from '../machines/views.ts'
import type { Api } from './api.ts'
import type { CommonOptions } from './api-command.ts'
import { CliError, EXIT } from './errors.ts'
import { duration, fixed, percent, print, table } from './output.ts'
import { failureOf, watchJob } from './watch.ts'

export async function watchToEnd(api: Api, id: string, options: CommonOptions, signal: AbortSignal): Promise<void> {
  const job = await watchJob(api, id, { signal, json: options.json === true })
  if (signal.aborted) {
    throw new CliError(`Interrupted. The job goes on: see it again with "tensorfleet watch ${id}"`, {
      exitCode: EXIT.interrupted,
    })
  }
  const failure = failureOf(job)
  if (failure !== null) throw failure
  if (options.json !== true) print(summary(job))
}

/** What a completed job has to show. */
export function summary(job: JobView): string {
  const { evaluation, validation, model, endedAt } = job
  const took = duration((endedAt ?? job.changedAt) - job.createdAt)
  const tested = evaluation === undefined ? '' : `, tested on ${evaluation.examples} examples`
  const lines = [`${styleText('green', '✔')} ${job.name} completed in ${took}${tested}`]
  if (evaluation !== undefined) lines.push(...evaluationLines(evaluation))
  if (validation !== undefined)
    lines.push(`  on ${validation.examples} for validation: ${measuresOf(validation).join('   ')}`)
  const { round, rounds } = job.progress
  const best = job.checkpoints.find(({ isBest }) => isBest === true)
  if (round < rounds && best !== undefined) {
    lines.push(`  stopped early in round ${round} of ${rounds}: the best one was ${best.round}, and is the model`)
  }
  if (model !== undefined) lines.push(`  model     ${model.name}@${model.version}`)
  const workers = Object.entries(job.workers).map(([id, rounds]) => `${id} (${rounds} rounds)`)
  if (workers.length > 0) lines.push(`  trained by ${workers.join(', ')}`)
  return lines.join('\n')
}

export function evaluationLines(evaluation: Evaluation): readonly string[] {
  const { confusion, byClass } = evaluation
  const names = (code: number): string => byClass?.[code]?.name ?? String(code)
  return [
    `  ${measuresOf(evaluation).join('   ')}`,
    ...(confusion === undefined ? [] : confusionLines(confusion, names)),
  ]
}

function measuresOf(evaluation: Evaluation): readonly string[] {
  const { accuracy, loss, f1, auc, mae, rmse, r2 } = evaluation
  const share = (name: string, value: number | undefined): readonly string[] =>
    value === undefined ? [] : [`${name} ${percent(value)}`]
  const number = (name: string, value: number | undefined): readonly string[] =>
    value === undefined ? [] : [`${name} ${fixed(value)}`]
  return [
    ...share('accuracy', accuracy),
    ...number('loss', loss),
    ...number('F1', f1),
    ...number('AUC', auc),
    ...number('R²', r2),
    ...number('MAE', mae),
    ...number('RMSE', rmse),
  ]
}

/** Rows are what examples are, columns what they were taken for. */
function confusionLines(
  confusion: readonly (readonly number[])[],
  nameOf: (code: number) => string,
): readonly string[] {
  if (confusion.length > CONFUSION_SHOWN_MAX) return []
  const rows = confusion.map((line, actual) => [nameOf(actual), ...line.map(String)])
  const text = table(['', ...confusion.keys().map(nameOf)], rows)
  return ['  confusion (rows: actual, columns: predicted)', ...text.split('\n').map((line) => `    ${line}`)]
}

const CONFUSION_SHOWN_MAX = 16
