/**
 * What happens to a row between the shard and the model. A list of steps, each an object with an `op`, applied in
 * order to the float32 values of a batch, in place. The same list is stored with a model and applied again at predict.
 */
import { KernelError } from '../errors.ts'

export type PreprocessStep = { op: 'scale'; factor: number } | { op: 'shift'; by: number }

export const PREPROCESS_OPS = ['scale', 'shift'] as const satisfies readonly PreprocessStep['op'][]

export function preprocess(values: Float32Array, steps: readonly PreprocessStep[]): void {
  for (const step of steps) {
    switch (step.op) {
      case 'scale': {
        const { factor } = step
        for (let i = 0; i < values.length; i++) values[i] = (values[i] ?? 0) * factor
        break
      }
      case 'shift': {
        const { by } = step
        for (let i = 0; i < values.length; i++) values[i] = (values[i] ?? 0) + by
        break
      }
      default:
        throw new KernelError(
          'request.invalid',
          `Unknown preprocess step ${JSON.stringify(step)}; known: ${PREPROCESS_OPS.join(', ')}`,
        )
    }
  }
}
