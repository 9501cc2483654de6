/** How the commands see kernel jobs: a spec is told by its `kind`, a job by its id, and the rest is the same words. */
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parse } from 'yaml'
import type { KernelJobView } from '../machines/kernel-spec.ts'
import type { Api } from './api.ts'
import { CliError, EXIT } from './errors.ts'
import { ago, note, print, printJson, sizeOf } from './output.ts'
import type { SpecFile } from './spec-file.ts'

const LOOK_EVERY_MS = 250

export function isKernelSpec({ text }: SpecFile): boolean {
  const spec: unknown = parse(text) // JSON is YAML too
  return typeof spec === 'object' && spec !== null && 'kind' in spec && spec.kind === 'kernel'
}

export function isKernelId(id: string): boolean {
  return id.startsWith('kernel-')
}

/** Follows a kernel job to its end, and throws when that is not a good one. */
async function watchKernelJob(
  api: Api,
  id: string,
  { signal, json }: { signal: AbortSignal; json: boolean },
): Promise<KernelJobView> {
  let told = ''
  for (;;) {
    const job = await api.kernelJob(id)
    const { state, progress, mode } = job
    const done = progress.chunksTotal === 0 ? '' : `  ${progress.rows} of ${progress.rowsTotal} rows, ${progress.chunks} of ${progress.chunksTotal} chunks${mode === undefined ? '' : ` on ${mode}`}` // prettier-ignore
    const line = json ? JSON.stringify(job) : `${state}${done}`
    if (line !== told && json) printJson(job)
    else if (line !== told) note(line)
    told = line
    if (state === 'completed') return job
    if (state === 'failed') throw new CliError(`Job ${id} failed: ${job.error?.message ?? 'nobody knows why'}`)
    if (state === 'cancelled') throw new CliError(`Job ${id} was cancelled`)
    if (signal.aborted) return job
    await sleep(LOOK_EVERY_MS, undefined, { signal }).catch(() => {}) // told at the next look
  }
}

/** A row of `ps`: chunks stand where a training has rounds. */
export function kernelRow({ id, name, state, progress, createdAt }: KernelJobView): readonly string[] {
  return [id, name, state, `${progress.chunks}/${progress.chunksTotal}`, '–', '–', '–', ago(createdAt)]
}

/** `watch` on a kernel job. */
export async function watchKernelToEnd(
  api: Api,
  id: string,
  options: { readonly json?: boolean },
  signal: AbortSignal,
): Promise<void> {
  const job = await watchKernelJob(api, id, { signal, json: options.json === true })
  if (signal.aborted) {
    const message = `Interrupted. The job goes on: see it again with "tensorfleet watch ${id}"`
    throw new CliError(message, { exitCode: EXIT.interrupted })
  }
  if (options.json !== true) print(kernelSummary(job))
}

function kernelSummary(job: KernelJobView): string {
  const { id, output, mode } = job
  const shape = output === undefined ? '' : `[${output.shape.join(', ')}], ${sizeOf(output.sizeBytes)}`
  return `Completed on ${mode ?? 'nothing'}: ${shape}\n  take it home with  npx tensorfleet download ${id}`
}

/** Writes the output into the folder and gives the file's path. */
export async function downloadOutput(api: Api, id: string, folder: string): Promise<string> {
  const { name } = await api.kernelJob(id)
  const path = join(folder, `${name}.npy`)
  await mkdir(folder, { recursive: true })
  await writeFile(path, new Uint8Array(await (await api.kernelOutput(id)).arrayBuffer()))
  return path
}
