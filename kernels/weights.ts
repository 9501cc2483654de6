/** The weights that a model needs, out of a safetensors file: each by its name and in its shape, in the plan's order. */
import { KernelError } from './errors.ts'
import type { ModelPlan } from './plan.ts'
import { decodeTensors } from './safetensors.ts'
import type { NamedTensor } from './safetensors.ts'

export type ModelTensor = Extract<NamedTensor, { dtype: 'F32' }>

/** Throws `weights.malformed`, `weights.mismatch`. */
export function weightsOf({ weights }: ModelPlan, bytes: Uint8Array): ModelTensor[] {
  const given = new Map(decodeTensors(bytes).tensors.map((tensor) => [tensor.name, tensor]))
  return weights.map(({ name, shape }) => {
    const tensor = given.get(name)
    if (tensor?.dtype === 'F32' && tensor.shape.join() === shape.join()) return tensor
    const found = tensor === undefined ? 'nothing' : `${tensor.dtype} [${tensor.shape.join(', ')}]`
    throw new KernelError('weights.mismatch', `weights: expected ${name} as F32 [${shape.join(', ')}], found ${found}`)
  })
}
