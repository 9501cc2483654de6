import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { readFiles } from '../../../kernels/data/ingest/formats.ts'
import { ingestFiles } from '../../../kernels/mod.ts'
import type { IngestedShard } from '../../../kernels/mod.ts'

let folder = ''
beforeAll(async () => void (folder = await mkdtemp(join(tmpdir(), 'tf-ingest-'))))
afterAll(() => rm(folder, { recursive: true, force: true }))

test('shards made in the memory of older ones have the bytes of shards in new memory', async () => {
  // Columns of three types, in blocks whose ends are padded.
  const path = join(folder, 'rows.csv')
  await writeFile(
    path,
    `a,b,c\n${Array.from({ length: 5_000 }, (_, i) => `${i / 8},${i % 251},${i * 7}`).join('\n')}\n`,
  )
  const request = {
    files: [{ path, name: 'rows.csv' }],
    options: { types: { b: 'byte', c: 'int' } as const, split: { seed: 1, validation: 0.2, test: 0 } },
    shardBytes: 4_096 + 1_000,
  }
  const fresh: IngestedShard[] = []
  await readFiles(
    request,
    () => {},
    async (shard) => void fresh.push({ ...shard, bytes: shard.bytes.slice() }),
  )
  const stored: IngestedShard[] = []
  await ingestFiles(request, {
    async store(shard) {
      stored.push({ ...shard, bytes: shard.bytes.slice() })
      return { sha256: '', sizeBytes: shard.bytes.byteLength }
    },
  })
  expect(fresh.length).toBeGreaterThan(20)
  expect(stored).toEqual(fresh)
})
