/** Every job in examples/ is one that a fleet would take, in the form in which a user submits it. */
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
const files = readdirSync(folder).filter((name) => name.endsWith('.yaml'))

let house: House
beforeAll(async () => {
  house = await House.stores(mnist(), iris(), cars())
})
afterAll(() => house.stop())

test.each(files)('examples/%s is admitted', async (file) => {
  const text = readFileSync(`${folder}${file}`, 'utf8')
  const written = parse(text) as Record<string, unknown>
  const services = { datasets: house.datasets, kernels, pools: ['default'] }
  // Those whose data a user brings say how; the data is not here.
  const brings = /tensorfleet dataset add (\S+)/.exec(text)?.[1]
  let raw: unknown = written
  if ('preset' in written) {
    const expanded = await expand(services, presetSpecSchema.parse(written))
    if ('problems' in expanded) {
      expect(expanded.problems.map(({ path }) => path)).toEqual(brings === undefined ? [] : ['dataset.name'])
      return
    }
    raw = expanded.spec
  }
  const problems = await admit(services, jobSpecSchema.parse(raw))
  expect(problems.map(({ message }) => message)).toEqual([])
})
