import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { afterAll, afterEach, expect, it, vi } from 'vitest'
import { driverModels } from '../../kernels/backends/nvidia.ts'
import { parseGpus, readGpus } from '../../kernels/gpus.ts'

const folder = mkdtempSync(join(tmpdir(), 'tf-gpus-'))
afterEach(() => {
  vi.unstubAllEnvs()
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

it('a GPU is read with its memory and how busy it is', () => {
  const text = 'NVIDIA H100 80GB HBM3, 81559, 1024, 37\nTesla, the old one, 16384, 0, [N/A]\n'
  expect(parseGpus(text)).toEqual([
    { name: 'NVIDIA H100 80GB HBM3', memoryBytes: 81559 * 1024 ** 2, usedBytes: 1024 ** 3, utilisation: 0.37 },
    { name: 'Tesla, the old one', memoryBytes: 16 * 1024 ** 3, usedBytes: 0, utilisation: 0 },
  ])
})

it.skipIf(process.platform === 'win32')(
  'GPUs are asked for by the tool of their maker, and there are none without it',
  async () => {
    vi.stubEnv('PATH', folder)
    expect(await readGpus()).toBeUndefined()
    writeFileSync(join(folder, 'nvidia-smi'), '#!/bin/sh\necho "NVIDIA L4, 23034, 512, 5"\n')
    chmodSync(join(folder, 'nvidia-smi'), 0o755)
    vi.stubEnv('PATH', `${folder}${delimiter}/bin${delimiter}/usr/bin`)
    expect(await readGpus()).toEqual([
      { name: 'NVIDIA L4', memoryBytes: 23034 * 1024 ** 2, usedBytes: 512 * 1024 ** 2, utilisation: 0.05 },
    ])
  },
)

it('the models of GPUs are read from their driver, each once, and none where there is no driver', () => {
  const bus = join(folder, 'bus')
  expect(driverModels(bus)).toEqual([])
  for (const [place, model] of Object.entries({
    '0000:01:00.0': 'NVIDIA L4',
    '0000:02:00.0': 'NVIDIA L4',
    '0000:03:00.0': 'NVIDIA H100 80GB HBM3',
  })) {
    mkdirSync(join(bus, place), { recursive: true })
    writeFileSync(join(bus, place, 'information'), `Model: \t\t ${model}\nIRQ:   \t\t 42\n`)
  }
  expect(driverModels(bus)).toEqual(['NVIDIA H100 80GB HBM3', 'NVIDIA L4'])
})
