import { expect, test } from 'vitest'
import { KernelSlots } from '../../actors/kernel-slots.ts'
import type { Kernel } from '../../actors/kernel-slots.ts'

// A kernel's handle, without a process: slots only lend it.
const kernel = (fingerprint: string): Kernel => ({
  start: async () => ({ backend: 'cpu', fingerprint, pid: 1 }),
  run: () => Promise.reject(new Error('it is not run here')),
  hear: () => {},
  stop: async () => {},
})
const never = new AbortController().signal
const opened = async (count: number): Promise<KernelSlots> => {
  const slots = new KernelSlots(() => kernel('f'))
  await slots.open(count)
  return slots
}

test('a kernel is lent to one at a time', async () => {
  const slots = await opened(1)
  const order: string[] = []
  const gate = Promise.withResolvers<void>()
  const first = slots.with(never, async () => {
    order.push('first begins')
    await gate.promise
    order.push('first ends')
  })
  const second = slots.with(never, async () => void order.push('second'))
  gate.resolve()
  await Promise.all([first, second])
  expect(order).toEqual(['first begins', 'first ends', 'second'])
})

test('who is cancelled while waiting takes no kernel away', async () => {
  const slots = await opened(1)
  const gate = Promise.withResolvers<void>()
  const abort = new AbortController()
  const first = slots.with(never, () => gate.promise)
  const waiting = slots.with(abort.signal, async () => 'never')
  abort.abort(new Error('cancelled'))
  await expect(waiting).rejects.toThrow('cancelled')
  gate.resolve()
  await first
  expect(await slots.with(never, async () => 'next')).toBe('next')
})

test('a use that fails gives its kernel back', async () => {
  const slots = await opened(1)
  await expect(slots.with(never, () => Promise.reject(new Error('broken')))).rejects.toThrow('broken')
  expect(await slots.with(never, async () => 'next')).toBe('next')
})

test('kernels that compute differently do not make a worker', async () => {
  const slots = new KernelSlots((slot) => kernel(`f${slot}`))
  await expect(slots.open(2)).rejects.toMatchObject({ code: 'worker.backends-differ' })
})
