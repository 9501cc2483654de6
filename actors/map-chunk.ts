/** A chunk of a kernel job on its worker: its inputs as files for the kernel process, and what came out as a blob. */
import type { KernelRequest, OutputFile, RequestInput, SplitName } from '../kernels/mod.ts'
import type { DatasetSlice, Pipeline } from '../kernels/mod.ts'
import type { Blob, Work, WorkOutput } from '../machines/work.ts'
import type { Blobs } from '../stores/mod.ts'
import type { BlobCache, CachedFile } from './blob-cache.ts'
import type { KernelRecipe } from './batches/kernel.ts'
import type { Kernel } from './kernel-slots.ts'

export interface MapServices {
  readonly blobs: Pick<Blobs, 'bytes'>
  readonly cache: BlobCache
  /** The rows of a split as files, by the manifest's sha256. */
  readonly slice: (manifest: string, pipeline: Pipeline, split: SplitName) => Promise<DatasetSlice>
  readonly store: (file: OutputFile) => Promise<Blob>
}

type MapWork = Extract<Work, { kind: 'map' }>
type MapOutput = Omit<Extract<WorkOutput, { kind: 'map' }>, 'elapsedMs'>

export async function runChunk(
  services: MapServices,
  work: MapWork,
  kernel: Kernel,
  signal: AbortSignal,
): Promise<MapOutput> {
  const text = new TextDecoder().decode(await services.blobs.bytes(work.recipe))
  const recipe = JSON.parse(text) as KernelRecipe // put by `prepare`
  const arrays = recipe.inputs.flatMap((input) => (input.from === 'npy' ? [input.sha256] : []))
  const { chunk, mode } = await services.cache.lend(arrays, async (files) => {
    const request: Extract<KernelRequest, { op: 'map' }> = {
      op: 'map',
      settings: { source: recipe.source, constants: recipe.constants, output: recipe.output, start: work.start, rows: work.rows }, // prettier-ignore
      inputs: await inputsOf(services, recipe, files),
    }
    return await kernel.run(request, { signal })
  })
  return { kind: 'map', chunk: work.chunk, rows: work.rows, blob: await services.store(chunk), mode }
}

async function inputsOf(
  services: MapServices,
  { inputs }: KernelRecipe,
  files: readonly CachedFile[],
): Promise<RequestInput[]> {
  const waiting = [...files]
  return await Promise.all(
    inputs.map(async ({ name, mapped, ...input }): Promise<RequestInput> => {
      if (input.from === 'npy') {
        const file = waiting.shift()
        if (file === undefined) throw new TypeError('lend gives a file for each hash')
        return { name, mapped, from: 'npy', file }
      }
      const { manifest, pipeline, split } = input
      return { name, mapped, from: 'dataset', data: await services.slice(manifest, pipeline, split) }
    }),
  )
}
