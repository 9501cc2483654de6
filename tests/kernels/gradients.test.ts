/**
 * The numerical suite: every layer type that a model may use gives on every back end the loss, outputs, gradients, moving
 * statistics and training step that the cpu back end gives, within the tolerance of `numerics.ts`. Each back end runs in
 * a kernel process, behind closed doors, as it does in a worker.
 */
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { LAYERS } from '../../kernels/layers/all.ts'
import { decodeTensors, initialise } from '../../kernels/mod.ts'
import type { BackendName, FeatureSpec } from '../../kernels/mod.ts'
import { backendsDir, has } from '../harness/parts.ts'
import { CASES, modelOf, series } from './layer-cases.ts'
import { BlobFolder, layer } from './models.ts'
import { difference, Numerics, questionOf } from './numerics.ts'
import type { Answer, Question } from './numerics.ts'

const TESTED: { backend: BackendName; isThere: boolean }[] = [
  { backend: 'wasm', isThere: true },
  { backend: 'tensorflow', isThere: has('tensorflow') },
  { backend: 'webgpu-software', isThere: has('software-gpu') },
]

const folder = new BlobFolder()
const cpu = new Numerics('cpu', folder, undefined)
afterAll(async () => {
  await cpu[Symbol.asyncDispose]()
  folder[Symbol.dispose]()
})

/** The reference is asked once, however many back ends are compared with it. */
const references = new Map<string, Promise<Answer>>()

for (const { backend, isThere } of TESTED) {
  describe.skipIf(!isThere)(`${backend} beside cpu`, () => {
    let tested: Numerics
    beforeAll(() => {
      tested = new Numerics(backend, folder, backendsDir)
    })
    afterAll(() => tested[Symbol.asyncDispose]())

    for (const [name, cases] of Object.entries(CASES)) {
      it(`gives the gradients of ${name}`, async () => {
        for (const [i, each] of cases.entries()) {
          const question = questionOf(each)
          const key = `${name} ${i} ${JSON.stringify('config' in each.tested ? each.tested.config : {}).slice(0, 200)}`
          const reference = references.get(key) ?? cpu.ask(question)
          references.set(key, reference)
          const found = differences(await tested.ask(question), await reference, question)
          expect({ key, differences: found }).toEqual({ key, differences: [] })
        }
      })
    }

    it('has a fingerprint that differs from that of cpu, and is the same in another process', async () => {
      await using again = new Numerics(backend, folder, backendsDir)
      expect(await again.fingerprint()).toBe(await tested.fingerprint())
      expect(await again.fingerprint()).not.toBe(await cpu.fingerprint())
    })
  })
}

describe('the numerical suite', () => {
  it('covers every layer type that a model may use', () => {
    expect(Object.keys(CASES).toSorted()).toEqual([...LAYERS.keys()].toSorted())
  })

  it('starts from initial weights that no back end has a part in', () => {
    const model = modelOf(CASES['LSTM']?.[0] ?? { tested: layer('Dense'), input: [1] })
    const input: FeatureSpec = { shape: series, dtype: 'float32' }
    expect(initialise(model, 4, input)).toEqual(initialise(model, 4, input))
    expect(initialise(model, 4, input)).not.toEqual(initialise(model, 5, input))
  })

  it('runs on a WebAssembly module that was built from the source beside it', () => {
    const place = new URL('../../kernels/backends/wasm/', import.meta.url)
    const source = createHash('sha256')
      .update(readFileSync(new URL('gradients.as', place)))
      .digest('hex')
    const built = readFileSync(new URL('gradients.wasm.source', place), 'utf8').trim()
    expect(built, 'run kernels/backends/wasm/build.sh').toBe(source)
  })
})

function differences(found: Answer, expected: Answer, { weights }: Question): string[] {
  const stepped = new Map(weightsOf(found.stepped))
  // A step is compared by how far it moved: beside the weights themselves a wrong step could hide.
  const start = new Map(weightsOf(weights))
  const moved = (to: Float32Array | undefined, name: string): Float32Array | undefined =>
    to?.map((x, i) => x - (start.get(name)?.[i] ?? 0))
  return [
    ...difference('loss', [found.loss], [expected.loss]),
    ...difference('outputs', found.outputs, expected.outputs),
    ...[...expected.gradients].flatMap(([name, values]) => difference(name, found.gradients.get(name), values)),
    ...[...expected.statistics].flatMap(([name, values]) => difference(name, found.statistics.get(name), values)),
    ...weightsOf(expected.stepped).flatMap(([name, values]) =>
      difference(`${name} after a step`, moved(stepped.get(name), name), moved(values, name) ?? []),
    ),
    ...(found.gradients.size === expected.gradients.size ? [] : ['other weights have gradients']),
    ...(found.leaked > 0 ? [`${found.leaked} tensors left behind`] : []),
  ]
}

function weightsOf(bytes: Uint8Array): [string, Float32Array][] {
  return decodeTensors(bytes).tensors.flatMap(({ name, dtype, data }) => (dtype === 'F32' ? [[name, data]] : []))
}
