/**
 * A function of gpu.js over an output. What can be said of it before it runs: whether gpu.js may get it, whether its
 * inputs are there, and how everything fits together; all problems at once, each with its field. What comes out is the
 * recipe, the same for all chunks: the function and, by content, its inputs.
 */
import type { Pipeline, Problem, SplitName } from '../../kernels/mod.ts'
import type { BatchResult, FinishInput } from '../../machines/batch.ts'
import type { KernelInputSpec, KernelSpec } from '../../machines/batch-spec.ts'
import { checkPool } from '../pools.ts'
import { assemble, chunksOf } from './plan.ts'
import type { BatchPlanServices, Planned } from './plan.ts'
import { problem, problemOfDataset } from '../problem.ts'

/** What a chunk should hold at least, so that what it costs to hand it out does not show. */
const CHUNK_ELEMENTS = 1_048_576

/** A blob, and what all chunks read of it. */
export interface KernelRecipe {
  readonly source: string
  readonly constants: Readonly<Record<string, number>>
  /** Whole numbers now. */
  readonly output: readonly number[]
  readonly inputs: readonly RecipeInput[]
}

export type RecipeInput = {
  readonly name: string
  readonly mapped: boolean
} & (
  | { readonly from: 'npy'; readonly sha256: string }
  | { readonly from: 'dataset'; readonly manifest: string; readonly split: SplitName; readonly pipeline: Pipeline }
)

interface Found {
  readonly input: RecipeInput
  readonly shape: readonly number[]
}

export async function planKernel(
  services: BatchPlanServices,
  spec: KernelSpec,
  owner: string,
  signal: AbortSignal,
): Promise<Planned> {
  const found = await recipeOf(services, spec, owner, signal)
  if ('problems' in found) return found
  const { sha256 } = await services.blobs.put(new TextEncoder().encode(JSON.stringify(found.recipe)), { signal })
  const shape = found.recipe.output.toReversed()
  const [rows = 1, ...row] = shape
  const chunks = chunksOf(rows, spec.chunkRows ?? Math.ceil(CHUNK_ELEMENTS / elements(row)))
  return { plan: { rows, chunks, data: sha256, shape, work: { kind: 'map', recipe: sha256 } } }
}

export async function finishKernel(
  services: BatchPlanServices,
  { plan: { shape = [] }, chunks }: FinishInput,
  signal: AbortSignal,
): Promise<BatchResult> {
  const file = await assemble(services, services.kernels.npyHeader(shape), chunks, signal)
  return { output: { ...file, format: 'npy', shape } }
}

async function recipeOf(
  services: BatchPlanServices,
  spec: KernelSpec,
  owner: string,
  signal: AbortSignal,
): Promise<{ readonly problems: readonly Problem[] } | { readonly recipe: KernelRecipe }> {
  const { kernels, pools } = services
  const problems = [...(await checkPool(pools, spec.pool))]
  for (const name of [...Object.keys(spec.constants), ...spec.inputs.map((input) => input.name)]) {
    if (!kernels.KERNEL_NAME.test(name)) problems.push(problem('inputs', 'names of letters, digits and "_"', name))
  }
  const found: (Found | Problem)[] = []
  for (const [i, input] of spec.inputs.entries()) {
    found.push(await findInput(services, input, `inputs[${i}]`, owner, signal))
  }
  const inputs = found.flatMap((each) => ('path' in each ? [] : [each]))
  problems.push(...found.flatMap((each) => ('path' in each ? [each] : [])))
  if (inputs.length < found.length) return { problems }
  problems.push(...checkShapes(services, spec, inputs))
  const facts = inputs.map(({ input, shape }) => ({ name: input.name, rank: shape.length, mapped: input.mapped }))
  const { source, constants } = spec
  const names = Object.keys(constants)
  problems.push(...kernels.checkKernel({ source, constants: names, inputs: facts, rank: spec.output.length }).problems)
  if (problems.length > 0) return { problems }
  const rows = inputs.find(({ input }) => input.mapped)?.shape[0] ?? 0
  const output = spec.output.map((length) => (length === 'rows' ? rows : length))
  return { recipe: { source, constants, output, inputs: inputs.map(({ input }) => input) } }
}

function checkShapes({ kernels }: BatchPlanServices, { output }: KernelSpec, inputs: readonly Found[]): Problem[] {
  const { KERNEL_OUTPUT_ELEMENTS_MAX, KERNEL_INPUT_ELEMENTS_MAX } = kernels
  const problems: Problem[] = []
  const mapped = inputs.filter(({ input }) => input.mapped)
  const last = output.at(-1)
  const length = last === 'rows' ? mapped[0]?.shape[0] : last
  for (const { input, shape } of inputs) {
    const place = `inputs.${input.name}`
    if (shape.length < 1 || shape.length > 3) problems.push(problem(place, '1 to 3 dimensions', String(shape.length)))
    else if (input.mapped && shape[0] !== length) {
      problems.push(problem(place, `${length} rows, as the last length of the output`, String(shape[0])))
    } else if (!input.mapped && elements(shape) > KERNEL_INPUT_ELEMENTS_MAX) {
      problems.push(problem(place, `at most ${KERNEL_INPUT_ELEMENTS_MAX} elements`, String(elements(shape))))
    }
  }
  const where = `output[${output.length - 1}]`
  if (last === 'rows' && mapped.length === 0) problems.push(problem(where, 'a number: no input is mapped', 'rows'))
  else if (output.slice(0, -1).includes('rows'))
    problems.push(problem('output', '"rows" in the last place', output.join(', '))) // prettier-ignore
  else {
    const count = elements(output.map((each) => (each === 'rows' ? (length ?? 0) : each)))
    if (count > KERNEL_OUTPUT_ELEMENTS_MAX) problems.push(problem('output', `at most ${KERNEL_OUTPUT_ELEMENTS_MAX} elements`, String(count))) // prettier-ignore
  }
  return problems
}

async function findInput(
  services: BatchPlanServices,
  spec: KernelInputSpec,
  path: string,
  owner: string,
  signal: AbortSignal,
): Promise<Found | Problem> {
  const { name, map: mapped } = spec
  // Those that make an array have become one (arrays.ts).
  if ('values' in spec) {
    return problem(`${path}.values`, 'numbers, in lists of equal length', 'lists of different lengths')
  }
  if ('array' in spec) {
    return { input: { name, mapped, from: 'npy', sha256: spec.array.sha256 }, shape: spec.array.shape }
  }
  if ('job' in spec) {
    const output = await services.outputOf(spec.job, owner)
    if (output === null) return problem(`${path}.job`, 'a batch job that has given an array', spec.job)
    return { input: { name, mapped, from: 'npy', sha256: output.sha256 }, shape: output.shape }
  }
  return await findRows(services, spec, path, signal)
}

async function findRows(
  { datasets, kernels }: BatchPlanServices,
  spec: Extract<KernelInputSpec, { dataset: string }>,
  path: string,
  signal: AbortSignal,
): Promise<Found | Problem> {
  const { name, map: mapped, dataset, version, split, column } = spec
  try {
    const { data, manifest } = await datasets.resolve({ name: dataset, ...(version !== undefined && { version }) }, { signal }) // prettier-ignore
    const count = data.splits[split]?.count ?? 0
    if (count === 0) return problem(`${path}.split`, `one of ${Object.keys(data.splits).join(', ')}`, split)
    const columns = data.columns.filter((each) => (column === undefined ? each.name !== data.target : each.name === column)) // prettier-ignore
    if (columns.length === 0) {
      const names = data.columns.map((each) => each.name).join(', ')
      return problem(`${path}.column`, `one of ${names}`, column ?? 'none')
    }
    const pipeline = kernels.rawPipeline(columns)
    const shape = [count, ...kernels.rowShape(pipeline.input.shape)]
    return { input: { name, mapped, from: 'dataset', manifest, split, pipeline }, shape }
  } catch (error) {
    const { expected, found } = problemOfDataset(error)
    return problem(`${path}.dataset`, expected, found)
  }
}

function elements(shape: readonly number[]): number {
  return shape.reduce((a, b) => a * b, 1)
}
