/**
 * The kernel job's actor: its chart bound to what plans it and puts its chunks together. All of it may run again after a
 * crash and ends in the same blobs.
 */
import { kernelJobMachine } from '../machines/kernel-job.ts'
import type { AssembleInput, KernelJobInput, KernelPlan } from '../machines/kernel-job.ts'
import type { KernelOutput } from '../machines/kernel-spec.ts'
import { defineActor } from '../runtime/mod.ts'
import type { Actor } from '../runtime/mod.ts'
import type { Blobs } from '../stores/mod.ts'
import { FleetError } from './errors.ts'
import { planKernel } from './kernel-plan.ts'
import type { KernelPlanServices, KernelRecipe } from './kernel-plan.ts'
import { jobLog } from './streams.ts'
import type { Telemetry } from './streams.ts'

export interface KernelJobServices extends KernelPlanServices, Telemetry {
  readonly blobs: Pick<Blobs, 'put' | 'bytes' | 'get'>
}

/** What a chunk should hold at least, so that what it costs to hand it out does not show. */
const CHUNK_ELEMENTS = 1_048_576
const CHUNKS_MAX = 2_048

export function kernelJobActor(services: KernelJobServices): Actor<typeof kernelJobMachine> {
  return defineActor({
    kind: 'kernel',
    version: 1,
    machine: kernelJobMachine,
    effects: {
      validate: async (input, { signal }) => {
        await plan(services, input, signal)
        return null
      },
      prepare: (input, { signal }) => prepare(services, input, signal),
      assemble: (input, { signal }) => assemble(services, input, signal),
    },
  })
}

async function plan(
  services: KernelJobServices,
  { id, owner, spec }: KernelJobInput,
  signal: AbortSignal,
): Promise<KernelRecipe> {
  const planned = await planKernel(services, spec, owner, signal)
  if ('recipe' in planned) return planned.recipe
  const sentence = planned.problems.map(({ message }) => message).join('; ')
  await jobLog(services, id, 'validate')('error', sentence)
  throw new FleetError('spec.not-admitted', `The job cannot run: ${sentence}`, { problems: planned.problems })
}

async function prepare(services: KernelJobServices, input: KernelJobInput, signal: AbortSignal): Promise<KernelPlan> {
  const recipe = await plan(services, input, signal)
  const { sha256 } = await services.blobs.put(new TextEncoder().encode(JSON.stringify(recipe)), { signal })
  const shape = recipe.output.toReversed()
  const [rows = 1, ...row] = shape
  const rowElements = row.reduce((a, b) => a * b, 1)
  const least = Math.ceil(rows / CHUNKS_MAX)
  const wanted = input.spec.chunkRows ?? Math.ceil(CHUNK_ELEMENTS / rowElements)
  const chunkRows = Math.min(rows, Math.max(least, wanted))
  await jobLog(services, input.id, 'prepare')('info', `${rows} rows in ${Math.ceil(rows / chunkRows)} chunks`)
  return { recipe: sha256, shape, chunkRows }
}

/** Chunk after chunk into one NPY file, never more than one of them in memory. */
async function assemble(
  services: KernelJobServices,
  { job, shape, chunks }: AssembleInput,
  signal: AbortSignal,
): Promise<KernelOutput> {
  const { blobs, kernels } = services
  async function* bytes(): AsyncGenerator<Uint8Array> {
    yield kernels.npyHeader(shape)
    for (const sha256 of chunks) {
      signal.throwIfAborted()
      yield await blobs.bytes(sha256)
    }
  }
  const { sha256, sizeBytes } = await blobs.put(bytes(), { signal })
  await jobLog(services, job, 'assemble')('info', `The output has the shape [${shape.join(', ')}], ${sizeBytes} bytes`)
  return { sha256, sizeBytes, shape }
}
