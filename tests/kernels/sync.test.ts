import { beforeAll, describe, expect, it } from 'vitest'
import { compileModel, initialise, KernelProcess, startBackend, trainRound, trainTogether } from '../../kernels/mod.ts'
import type { CompiledModel, Exchange, KernelRequest, RoundFiles, RoundResult, SyncMessage, TrainSettings } from '../../kernels/mod.ts' // prettier-ignore
import { BlobFolder, IMAGES, settings, smallCnn, stripedDataset, stripedShard } from './models.ts'

const together: TrainSettings = { ...settings, batchSizes: [8, 16, 8], localSteps: 6, clip: { kind: 'norm', max: 1 } }
const dataset = stripedDataset()
const weights = initialise(smallCnn, 3, IMAGES)

/** An exchange in which nobody but a script speaks: what it says after each thing that the member tells. */
function scripted(answers: (told: SyncMessage) => SyncMessage[] = () => []): Exchange & { told: SyncMessage[] } {
  const told: SyncMessage[] = []
  let waiting: SyncMessage[] = []
  return {
    member: 'me',
    told,
    tell: (message) => {
      told.push(message)
      waiting.push(...answers(message))
    },
    heard: () => waiting.splice(0),
    wait: async () => {},
  }
}

function byItsOwner(leaf: Extract<SyncMessage, { kind: 'leaf' }>): SyncMessage {
  return { ...leaf, member: `of ${leaf.of}`, replica: leaf.of }
}

describe('replicas that go together', () => {
  let compiled: CompiledModel
  let alone: RoundResult
  let told: SyncMessage[]
  beforeAll(async () => {
    compiled = await compileModel(await startBackend('wasm'), smallCnn, IMAGES)
    // Somebody else is there, so that it tells its leaves; but that one never brings any.
    const exchange = scripted((message) =>
      message.kind === 'join' ? [{ kind: 'join', member: 'mute', replica: 2 }] : [],
    )
    alone = await window({}, exchange)
    told = exchange.told
  })

  function window(changes: Partial<TrainSettings> = {}, exchange: Exchange = scripted()): Promise<RoundResult> {
    return trainTogether(compiled, weights, undefined, dataset, { ...together, ...changes }, exchange)
  }

  it('come to the same weights whichever member computes, and when another never answers', async () => {
    expect((await window()).weights).toEqual(alone.weights)
    const second = await window({ replica: 1 })
    expect([second.weights, second.optimizerState, second.metrics]).toEqual([
      alone.weights,
      alone.optimizerState,
      alone.metrics,
    ])
  })

  it('take the leaves of others as their own, and do not compute those', async () => {
    const others = told.filter((message) => message.kind === 'leaf').filter(({ of }) => of !== 0)
    const exchange = scripted((message) => (message.kind === 'join' ? others.map(byItsOwner) : []))
    const helped = await window({}, exchange)
    expect(helped.weights).toEqual(alone.weights)
    expect(exchange.told.flatMap((message) => (message.kind === 'leaf' ? message.of : []))).toEqual([0, 0, 0, 0, 0, 0]) // prettier-ignore
  })

  it('know each other by whichever message comes first, also by a leaf of somebody else', async () => {
    const pair = { batchSizes: [8, 16] }
    const source = scripted((message) => (message.kind === 'join' ? [{ kind: 'join', member: 'mute', replica: 1 }] : [])) // prettier-ignore
    const expected = await window(pair, source)
    const leaves = source.told.filter((message) => message.kind === 'leaf')
    const heard: SyncMessage[] = leaves.filter(({ of }) => of === 0).slice(0, 1).map((leaf) => ({ ...leaf, member: 'one', replica: 1 })) // prettier-ignore
    const told: SyncMessage[] = []
    const its = leaves.filter(({ of }) => of === 1).map(byItsOwner)
    const exchange: Exchange = {
      member: 'me',
      tell: (message) => void told.push(message),
      heard: () => heard.splice(0),
      wait: async () => void heard.push(...its.splice(0, 1)),
    }
    expect((await window(pair, exchange)).weights).toEqual(expected.weights)
    expect(told.flatMap((message) => (message.kind === 'leaf' ? message.of : []))).toEqual([0, 0, 0, 0, 0])
  })

  it('go on from the state of another, with the same end and the same sums', async () => {
    // Who joins in the middle is told the state of the step that the others are at.
    const first = scripted((message) =>
      message.kind === 'leaf' && message.step === 3 && message.of === 0
        ? [{ kind: 'join', member: 'late', replica: 1 }]
        : message.kind === 'join'
          ? [{ kind: 'join', member: 'mute', replica: 2 }]
          : [],
    )
    await window({}, first)
    const state = first.told.find((message) => message.kind === 'state')
    expect(state).toMatchObject({ step: 3 })
    const late = scripted((message) => (message.kind === 'join' && state ? [{ ...state, member: 'other' }] : []))
    const result = await window({ replica: 1 }, late)
    expect([result.weights, result.optimizerState, result.metrics]).toEqual([
      alone.weights,
      alone.optimizerState,
      alone.metrics,
    ])
    expect(Math.min(...late.told.flatMap((message) => (message.kind === 'leaf' ? message.step : [])))).toBe(3)
  })

  it('are, as one replica, what local steps are', async () => {
    const single: TrainSettings = { ...together, batchSizes: [16] }
    const local = await trainRound(compiled, weights, undefined, dataset, single)
    expect((await window(single)).weights).toEqual(local.weights)
  })

  it('in windows of two steps are what they are in one of six', async () => {
    let state: Partial<RoundResult> = { weights }
    for (const stepStart of [0, 2, 4]) {
      const changes = { ...together, localSteps: 2, stepStart }
      state = await trainTogether(
        compiled,
        state.weights ?? weights,
        state.optimizerState,
        dataset,
        changes,
        scripted(),
      )
    }
    expect(state.weights).toEqual(alone.weights)
    expect(state.optimizerState).toEqual(alone.optimizerState)
  })

  it('name step and replica of a loss that explodes', async () => {
    await expect(window({ lossLimit: 1e-3 })).rejects.toMatchObject({
      code: 'loss.exploded',
      data: { step: 0, replica: 0 },
    })
  })

  it(
    'in several processes end with the same bytes, also when one dies in the middle',
    { timeout: 60_000 },
    async () => {
      using folder = new BlobFolder()
      const data = folder.slice({ bytes: stripedShard(150, 1), count: 150 }, { bytes: stripedShard(90, 2), count: 90 })
      const processes = [0, 1, 2].map(
        (replica) =>
          new KernelProcess({ backend: 'wasm', cacheDir: folder.root, scratchDir: `${folder.scratchDir}/${replica}` }),
      )
      const long = { ...together, localSteps: 150 }
      let leaves = 0
      const run = (replica: number): Promise<RoundFiles> => {
        const request: Extract<KernelRequest, { op: 'sync' }> = {
          op: 'sync',
          member: `m${replica}`,
          model: smallCnn,
          weights: folder.write(weights),
          data,
          settings: { ...long, replica },
        }
        const onTell = (message: SyncMessage): void => {
          for (const other of processes) if (other !== processes[replica]) other.hear(message)
          // The third one's process is gone after a while.
          if (message.kind === 'leaf' && message.of === 2 && ++leaves === 20) void processes[2]?.stop()
        }
        return processes[replica]!.run(request, { onTell })
      }
      try {
        await Promise.all(processes.map((process) => process.start()))
        const results = await Promise.allSettled([run(0), run(1), run(2)])
        expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'fulfilled', 'rejected'])
        const expected = await window({ localSteps: 150 })
        for (const result of results) {
          if (result.status === 'rejected') continue
          expect(result.value.weights.sha256).toBe(folder.write(expected.weights).sha256)
          expect(result.value.metrics).toEqual(expected.metrics)
        }
      } finally {
        await Promise.all(processes.map((process) => process.stop()))
      }
    },
  )
})
