import { expect, test } from 'vitest'
import * as charts from '../../machines/vocabulary.ts'
import type { Fault } from '../../machines/fault.ts'
import * as runtime from '../../runtime/mod.ts'

test('charts and runtime speak the same words', () => {
  // The compiler checks both directions; the names are checked here.
  const there: typeof charts.vocabulary = runtime.vocabulary
  const back: typeof runtime.vocabulary = charts.vocabulary
  expect(Object.keys(there)).toEqual(Object.keys(back))
})

test("a chart's fault is the runtime's", () => {
  const fault: Fault = runtime.faultOf(new Error('broken'), 'effect.failed')
  const back: runtime.Fault = fault
  expect(back).toEqual({ code: 'effect.failed', message: 'broken', remedy: 'retry' })
})
