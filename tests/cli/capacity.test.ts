import { expect, it } from 'vitest'
import { memoryLimitOf, slotsOf, watchGpus } from '../../cli/capacity.ts'
import type { GpuReading } from '../../kernels/mod.ts'

const GIB = 1024 ** 3

it.each([
  { cores: 4, gib: 16, isGpu: false, slots: 4 },
  { cores: 32, gib: 16, isGpu: false, slots: 9 },
  { cores: 8, gib: 1, isGpu: false, slots: 1 },
  { cores: 16, gib: 128, isGpu: true, slots: 1 },
])('$cores cores and $gib GiB (GPU: $isGpu) are $slots slots', ({ cores, gib, isGpu, slots }) => {
  const host = { cores, memoryBytes: gib * GIB, isGpu }
  expect(slotsOf(host)).toBe(slots)
  expect(memoryLimitOf(host, slots) * slots).toBeLessThanOrEqual(0.9 * gib * GIB)
})

it('a reading of the GPUs is told once, and where there is no tool nothing is', async () => {
  const reading = (utilisation: number): GpuReading[] => [{ name: 'L4', memoryBytes: 1, usedBytes: 0, utilisation }]
  const told: unknown[] = []
  const abort = new AbortController()
  await watchGpus(
    async () => reading(0.5),
    async (gpus) => {
      told.push(gpus)
      abort.abort()
    },
    abort.signal,
  )
  expect(told).toEqual([reading(0.5)])
  await watchGpus(
    async () => undefined,
    async () => told.push('never'),
    new AbortController().signal,
  )
  expect(told).toHaveLength(1)
})
