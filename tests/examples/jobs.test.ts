/** Every training job in examples/ is one that a fleet would take, in the form in which a user submits it. */
import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { parse } from 'yaml'
import { admit, admitSweep, expand } from '../../actors/mod.ts'
import { cars, iris, mnist } from '../../actors/built-in-datasets.ts'
import { checkJob, jobSpecSchema } from '../../gateway/schemas/job-spec.ts'
import { presetSpecSchema } from '../../gateway/schemas/preset-spec.ts'
import { sweepSpecSchema } from '../../gateway/schemas/sweep-spec.ts'
import * as kernels from '../../kernels/mod.ts'
import { House, namedPools } from '../actors/house.ts'

const folder = fileURLToPath(new URL('../../examples/', import.meta.url))
const all = readdirSync(folder).filter((name) => name.endsWith('.yaml'))
const kindOf = (name: string): string => /^kind: (\w+)$/m.exec(readFileSync(`${folder}${name}`, 'utf8'))?.[1] ?? 'train'
/** Those that train; batch jobs have tests of their own. */
const files = all.filter((name) => kindOf(name) === 'train')

let house: House
beforeAll(async () => {
  house = await House.stores(mnist(), iris(), cars())
})
afterAll(() => house.stop())

test.each(files)('examples/%s is admitted', async (file) => {
  const text = readFileSync(`${folder}${file}`, 'utf8')
  const written = parse(text) as Record<string, unknown>
  const { blobs, datasets, registry } = house
  const services = { blobs, datasets, registry, kernels, pools: namedPools('default') }
  // Those whose data a user brings say how; the data is not here.
  const brings = /tensorfleet dataset add (\S+)/.exec(text)?.[1]
  const expanded = 'preset' in written ? await expand(services, presetSpecSchema.parse(written)) : { spec: written }
  const problems =
    'problems' in expanded ? expanded.problems : await admit(services, jobSpecSchema.parse(expanded.spec))
  expect(problems.map(({ path }) => path)).toEqual(brings === undefined ? [] : ['dataset.name'])
})

test.each(all.filter((name) => kindOf(name) === 'sweep'))(
  'examples/%s is admitted, with each of its trials',
  async (file) => {
    const spec = sweepSpecSchema.parse(parse(readFileSync(`${folder}${file}`, 'utf8')))
    const { blobs, datasets, registry } = house
    const services = { blobs, datasets, registry, kernels, pools: namedPools('default'), checkJob }
    expect(await admitSweep(services, spec)).toEqual({ spec })
  },
)
