import { expect, test } from 'vitest'
import { missingOf } from '../../cli/outlook.ts'
import type { WorkerView } from '../../machines/views.ts'

const worker = (pool: string, backend: string, state: WorkerView['state'] = 'idle'): WorkerView => ({
  id: `worker-${pool}`,
  pool,
  state,
  slots: 1,
  busy: 0,
  backend,
  fingerprint: backend,
  host: 'here',
  pid: 1,
  joinedAt: 0,
  tasks: [],
  gpus: [],
})

test('a job that finds no worker is told what it waits for', () => {
  const workers = [worker('default', 'wasm'), worker('default', 'webgpu', 'gone'), worker('spare', 'webgpu')]
  expect(missingOf({ pool: 'default' }, workers)).toBeNull()
  expect(missingOf({ pool: 'spare', backend: 'webgpu' }, workers)).toBeNull()
  expect(missingOf({ pool: 'default', backend: 'webgpu' }, workers)).toBe(
    'No worker of pool default computes with webgpu (there is wasm): the job waits for one',
  )
  expect(missingOf({ pool: 'gpu' }, workers)).toContain('Pool gpu has no workers')
})
