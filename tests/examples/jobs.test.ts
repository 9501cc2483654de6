/** Every training job in examples/ is one that a fleet would take, in the form in which a user submits it. */
import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { parse } from 'yaml'
import { admit, expand } from '../../actors/mod.ts'
import { cars, iris, mnist } from '../../actors/built-in-datasets.ts'
import { jobSpecSchema } from '../../gateway/schemas/job-spec.ts'
import { presetSpecSchema } from '../../gateway/schemas/preset-spec.ts'
import * as kernels from '../../kernels/mod.ts'
import { House } from '../actors/house.ts'

const folder = fileURLToPath(new URL('../../examples/', import.meta.url))
/** Those that train; kernel jobs have a test of their own. */
const files = readdirSync(folder).filter(
  (name) => name.endsWith('.yaml') && !/^kind: kernel$/m.test(readFileSync(`${folder}${name}`, 'utf8')),
)

let house: House
beforeAll(async () => {
  house = await House.stores(mnist(), iris(), cars())
})
afterAll(() => house.stop())

test.each(files)('examples/%s is admitted', async (file) => {
  const text = readFileSync(`${folder}${file}`, 'utf8')
  const written = parse(text) as Record<string, unknown>
  const { blobs, datasets, registry } = house
  const services = { blobs, datasets, registry, kernels, pools: ['default'] }
  // Those whose data a user brings say how; the data is not here.
  const brings = /tensorfleet dataset add (\S+)/.exec(text)?.[1]
  const expanded = 'preset' in written ? await expand(services, presetSpecSchema.parse(written)) : { spec: written }
  const problems =
    'problems' in expanded ? expanded.problems : await admit(services, jobSpecSchema.parse(expanded.spec))
  expect(problems.map(({ path }) => path)).toEqual(brings === undefined ? [] : ['dataset.name'])
})
