/** Datasets made of files that a test writes, read back as rows: what the tests of formats have in common. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { datasetInMemory } from '../../../kernels/mod.ts'
import type { IngestedShard, IngestOptions, SplitName } from '../../../kernels/mod.ts'
import { readFiles } from '../../../kernels/data/ingest/formats.ts'
import type { IngestSummary } from '../../../kernels/data/ingest/request.ts'

export interface ReadBack extends IngestSummary {
  readonly shards: readonly IngestedShard[]
  /** A column's values in a split, row after row. */
  values(column: string, split?: SplitName): number[]
}

/** Reads files, by name, without a thread; all rows are for training unless something says otherwise. */
export async function ingest(
  files: Readonly<Record<string, string | Uint8Array>>,
  options: IngestOptions = {},
  shardBytes?: number,
): Promise<ReadBack> {
  const folder = mkdtempSync(join(tmpdir(), 'tf-ingest-'))
  try {
    const written = Object.entries(files).map(([name, content], i) => {
      const path = join(folder, String(i))
      writeFileSync(path, content)
      return { name, path }
    })
    const shards: IngestedShard[] = []
    const split = options.split ?? { seed: 1, validation: 0, test: 0 }
    const request = { files: written, options: { ...options, split }, ...(shardBytes !== undefined && { shardBytes }) }
    const summary = await readFiles(
      request,
      () => {},
      async (shard) => void shards.push(shard),
    )
    const values = (name: string, of: SplitName = 'train'): number[] => {
      const column = summary.columns.findIndex((each) => each.name === name)
      if (column < 0) throw new Error(`no column ${name}`)
      const bytes = shards.filter((shard) => shard.split === of).map((shard) => shard.bytes)
      const features = [{ ...summary.columns[column]!, name }]
      const columns = summary.columns.map((each) => (each.name === name ? features[0]! : each))
      const dataset = datasetInMemory(columns, null, [], bytes, [name])
      const rows = Uint32Array.from({ length: dataset.count }, (_, i) => i)
      return [...dataset.read(rows).features]
    }
    return { ...summary, shards, values }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** An IDX file. */
export function idx(dims: readonly number[], values: Uint8Array, type = 8): Uint8Array {
  const bytes = new Uint8Array(4 + dims.length * 4 + values.length)
  bytes.set([0, 0, type, dims.length])
  const header = new DataView(bytes.buffer)
  for (const [i, dimension] of dims.entries()) header.setUint32(4 + i * 4, dimension)
  bytes.set(values, 4 + dims.length * 4)
  return bytes
}
