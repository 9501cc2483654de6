/** How the commands see batch jobs: a spec is told by its `kind`, a job by its id, and the rest is the same words. */
import { mkdir, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { BatchFile, BatchView } from '../machines/batch-spec.ts'
import type { Api } from './api.ts'
import { CliError } from './errors.ts'
import { ago, fixed, percent, sizeOf } from './output.ts'
import { kindOf } from './spec-file.ts'
import type { SpecFile } from './spec-file.ts'
import { evaluationLines } from './watch-command.ts'

const KINDS: ReadonlySet<unknown> = new Set<BatchView['kind']>(['kernel', 'evaluate', 'predict'])

export function isBatchSpec(spec: SpecFile): boolean {
  return KINDS.has(kindOf(spec))
}

export function isBatchId(id: string): boolean {
  return KINDS.has(id.split('-')[0])
}

/** A row of `ps`: chunks stand where a training has rounds. */
export function batchRow({ id, name, state, progress, evaluation, createdAt }: BatchView): readonly string[] {
  const done = `${progress.chunks}/${progress.chunksTotal}`
  return [id, name, state, done, fixed(evaluation?.loss), percent(evaluation?.accuracy), '–', ago(createdAt)]
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
