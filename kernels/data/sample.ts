/** A few rows of a dataset as a person reads them: by column, categories by name, what is missing as null. */
import type { Column } from './column.ts'
import { MISSING_CATEGORY } from './column.ts'
import type { ShardRef } from './manifest.ts'
import { lastAtMost } from './order.ts'
import { decodeShard } from './shard.ts'

export type SampleValue = number | string | null | readonly number[]
export type SampleRow = Readonly<Record<string, SampleValue>>

/** Rows `offset` to `offset + limit` of a split, in stored order; `bytesOf` gives a shard's verified bytes. */
export async function sampleRows(
  columns: readonly Column[],
  shards: readonly ShardRef[],
  { offset, limit }: { readonly offset: number; readonly limit: number },
  bytesOf: (sha256: string) => Promise<Uint8Array>,
): Promise<SampleRow[]> {
  const starts = [0]
  for (const { count } of shards) starts.push((starts.at(-1) ?? 0) + count)
  const rows: SampleRow[] = []
  for (let row = offset; row < Math.min(offset + limit, starts.at(-1) ?? 0);) {
    const index = lastAtMost(starts, row)
    const shard = decodeShard(await bytesOf(shards[index]?.sha256 ?? ''))
    for (; row < Math.min(offset + limit, starts[index + 1] ?? 0); row++) {
      const values: [string, SampleValue][] = []
      for (const [b, { width, columns: inside }] of shard.layout.blocks.entries()) {
        for (const { column, offset: from, elements } of inside) {
          const at = (row - (starts[index] ?? 0)) * width + from
          const found = [...(shard.blocks[b]?.subarray(at, at + elements) ?? [])]
          const described = columns[column]
          if (described !== undefined) values[column] = [described.name, shown(described, found)]
        }
      }
      rows.push(Object.fromEntries(values))
    }
  }
  return rows
}

function shown({ shape, categories }: Column, values: readonly number[]): SampleValue {
  if (shape.length > 0) return values
  const [value = 0] = values
  if (categories !== undefined) return value === MISSING_CATEGORY ? null : (categories.names?.[value] ?? value)
  return Number.isNaN(value) ? null : value
}
