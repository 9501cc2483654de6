/** How the commands see batch jobs: a spec is told by its `kind`, a job by its id, and the rest is the same words. */
import { mkdir, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { BatchFile, BatchView } from '../machines/batch-spec.ts'
import type { Api } from './api.ts'
import type { CommonOptions } from './api-command.ts'
import { CliError, EXIT } from './errors.ts'
import { ago, fixed, note, percent, print, printJson, sizeOf } from './output.ts'
import { kindOf } from './spec-file.ts'
import type { SpecFile } from './spec-file.ts'
import { evaluationLines } from './watch-command.ts'

const LOOK_EVERY_MS = 250
const KINDS: ReadonlySet<unknown> = new Set<BatchView['kind']>(['kernel', 'evaluate', 'predict'])

export function isBatchSpec(spec: SpecFile): boolean {
  return KINDS.has(kindOf(spec))
}

export function isBatchId(id: string): boolean {
  return KINDS.has(id.split('-')[0])
}

/** Follows a batch job to its end, and throws when that is not a good one. */
export async function watchBatch(
  api: Api,
  id: string,
  options: CommonOptions,
  signal: AbortSignal,
): Promise<BatchView> {
  let told = ''
  for (;;) {
    const job = await api.batch(id)
    const line = options.json === true ? JSON.stringify(job) : progressOf(job)
    if (line !== told && options.json === true) printJson(job)
    else if (line !== told) note(line)
    told = line
    if (job.state === 'completed') return job
    if (job.state === 'failed') throw new CliError(`Job ${id} failed: ${job.error?.message ?? 'nobody knows why'}`)
    if (job.state === 'cancelled') throw new CliError(`Job ${id} was cancelled`)
    if (signal.aborted) {
      const message = `Interrupted. The job goes on: see it again with "tensorfleet watch ${id}"`
      throw new CliError(message, { exitCode: EXIT.interrupted })
    }
    await sleep(LOOK_EVERY_MS, undefined, { signal }).catch(() => {}) // told at the next look
  }
}

function progressOf({ state, progress, mode }: BatchView): string {
  const { rows, rowsTotal, chunks, chunksTotal } = progress
  if (chunksTotal === 0) return state
  return `${state}  ${rows} of ${rowsTotal} rows, ${chunks} of ${chunksTotal} chunks${mode === undefined ? '' : ` on ${mode}`}`
}

/** A row of `ps`: chunks stand where a training has rounds. */
export function batchRow({ id, name, state, progress, evaluation, createdAt }: BatchView): readonly string[] {
  const done = `${progress.chunks}/${progress.chunksTotal}`
  return [id, name, state, done, fixed(evaluation?.loss), percent(evaluation?.accuracy), '–', ago(createdAt)]
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

export function summaryOf(job: BatchView): string {
  const { id, output, evaluation, mode, dataset } = job
  if (evaluation !== undefined) {
    return [`Measured on ${evaluation.examples} rows of ${dataset ?? 'its dataset'}`, ...evaluationLines(evaluation)].join('\n') // prettier-ignore
  }
  if (output === undefined) return 'Completed'
  return `Completed${mode === undefined ? '' : ` on ${mode}`}: ${fileText(output)}\n  take it home with  npx tensorfleet download ${id}`
}

function fileText({ format, shape, sizeBytes }: BatchFile): string {
  return `${shape === undefined ? format : `[${shape.join(', ')}]`}, ${sizeOf(sizeBytes)}`
}

/** Writes the output to a file of this path, or of its own name into a folder, and gives the file's path. */
export async function downloadOutput(
  api: Api,
  id: string,
  to: { readonly folder: string } | { readonly path: string },
): Promise<string> {
  const { name, output } = await api.batch(id)
  const path = 'path' in to ? to.path : join(to.folder, `${name}.${output?.format ?? 'npy'}`)
  await mkdir(dirname(path), { recursive: true })
  const { body } = await api.batchOutput(id)
  if (body === null) throw new CliError(`The output of ${id} came without a body`)
  await writeFile(path, body)
  return path
}
