/**
 * Everything that can be said about a sweep before it is accepted, beyond the shape of its fields: its parameters lead
 * somewhere, each of its trials is a job that may run, and they can be compared. All problems at once. Which trials
 * there are is known beforehand (search.ts), so none is left to fail for what could have been seen here.
 */
import { setImmediate } from 'node:timers/promises'
import type { Problem } from '../kernels/mod.ts'
import { SWEEP_LIMITS } from '../machines/limits.ts'
import { gridSize, parametersOf, pathOf, trialCount, trialSpec, withValue } from '../machines/search.ts'
import type { JobSpec } from '../machines/spec.ts'
import type { ParameterSpec, SweepSpec } from '../machines/sweep-spec.ts'
import { admit } from './admission.ts'
import type { AdmissionServices } from './admission.ts'
import { exactModel, pinned } from './basis.ts'
import { problem } from './problem.ts'

export interface SweepAdmissionServices extends AdmissionServices {
  /** The check at the edge, for jobs that come of one: the job with its defaults, or what is wrong with it. */
  readonly checkJob: (job: unknown) => { readonly spec: JobSpec } | { readonly problems: readonly Problem[] }
}

export type AdmittedSweep = { readonly spec: SweepSpec } | { readonly problems: readonly Problem[] }

/** A millisecond and a half each. */
const TRIALS_A_TURN = 16

/** More than anybody reads. */
const PROBLEMS_MAX = 100

/** Only what a job computes may differ between its trials. */
const VARIED = ['train', 'model', 'preprocess', 'dataset']

/** The sweep as it is stored: values of parameters have their defaults, as fields of a job have. */
export async function admitSweep(services: SweepAdmissionServices, written: SweepSpec): Promise<AdmittedSweep> {
  const spec = await pinnedSweep(services, written)
  const unfit = [...checkParameters(spec), ...checkCount(spec), ...checkMetric(spec)]
  if (unfit.length > 0) return { problems: unfit }
  const whole = withDefaults(services, spec)
  if ('problems' in whole) return whole
  const problems = await checkTrials(services, whole.spec)
  return problems.length > 0 ? { problems } : whole
}

/** With the exact version of the model that trials start from: the newest may be another one for the last of them. */
async function pinnedSweep(services: SweepAdmissionServices, spec: SweepSpec): Promise<SweepSpec> {
  const job = await pinned(services, spec.job)
  const starts = spec.parameters[START]
  if (!Array.isArray(starts)) return { ...spec, job }
  const exact = await Promise.all(starts.map((start: unknown) => exactModel(services, String(start))))
  return { ...spec, job, parameters: { ...spec.parameters, [START]: exact } }
}

const START = 'model.from'

function checkParameters({ parameters, search, job }: SweepSpec): readonly Problem[] {
  return Object.entries(parameters).flatMap(([path, parameter]) => {
    const field = `parameters.${path}`
    const [root = '', ...rest] = pathOf(path)
    if (!VARIED.includes(String(root)) || rest.length === 0) {
      return [problem(field, `a path that begins with ${VARIED.map((each) => `${each}.`).join(', ')}`, path)]
    }
    if (valueOf(job, pathOf(path)) === undefined) return [problem(field, 'the path of a field that the job has', path)]
    const isEndless = search.kind === 'grid' && gridSize({ [path]: parameter }) === Infinity
    return isEndless ? [problem(`${field}.step`, 'a step, for a grid', 'nothing')] : []
  })
}

function checkCount(spec: SweepSpec): readonly Problem[] {
  const { trialsMax } = SWEEP_LIMITS
  const size = spec.search.kind === 'grid' ? gridSize(spec.parameters) : 0
  if (size > GRID_MAX && size !== Infinity) return [problem('parameters', `at most ${GRID_MAX} combinations`, String(size))] // prettier-ignore
  if (trialCount(spec) <= trialsMax || size === Infinity) return []
  return [problem('search.trials', `at most ${trialsMax} trials`, `${trialCount(spec)} combinations`)]
}

/** Places in a grid are counted in 32 bits. */
const GRID_MAX = 1_000_000

function checkMetric({ metric, job }: SweepSpec): readonly Problem[] {
  const { validation, earlyStopping } = job.train
  const before =
    job.after === undefined
      ? []
      : [problem('job.after', 'nothing: a sweep as a whole comes after others (after)', 'jobs to come after')]
  if (validation === undefined && metric !== 'loss' && metric !== 'accuracy') {
    return [...before, problem('metric', 'loss or accuracy, where job.train.validation is left out', metric)]
  }
  if (earlyStopping === undefined || earlyStopping.metric === metric) return before
  const expected = `${metric}, by which the sweep compares`
  return [...before, problem('job.train.earlyStopping.metric', expected, earlyStopping.metric)]
}

/** `{ kind: sgd }` as the value of a parameter gets the fields that it would get in a job. */
function withDefaults({ checkJob }: SweepAdmissionServices, spec: SweepSpec): AdmittedSweep {
  const problems: Problem[] = []
  const filled = (path: string, parameter: ParameterSpec): ParameterSpec => {
    if (!Array.isArray(parameter)) return parameter
    return parameter.map((value: unknown) => {
      if (typeof value !== 'object' || value === null) return value
      const checked = checkJob(withValue(spec.job, pathOf(path), value))
      if ('spec' in checked) return valueOf(checked.spec, pathOf(path))
      problems.push(...checked.problems.map((each) => asOfSweep(each, spec, null)))
      return value
    })
  }
  const parameters = Object.fromEntries(
    Object.entries(spec.parameters).map(([path, parameter]) => [path, filled(path, parameter)]),
  )
  return problems.length > 0 ? { problems: distinct(problems) } : { spec: { ...spec, parameters } }
}

async function checkTrials(services: SweepAdmissionServices, spec: SweepSpec): Promise<readonly Problem[]> {
  let problems: readonly Problem[] = []
  for (let trial = 0; trial < trialCount(spec) && problems.length < PROBLEMS_MAX; trial++) {
    const checked = services.checkJob(trialSpec(spec, trial))
    const found =
      'problems' in checked ? checked.problems : await admit(services, checked.spec, { metric: spec.metric })
    if (trial % TRIALS_A_TURN === TRIALS_A_TURN - 1) await setImmediate() // others have requests too
    problems = distinct([...problems, ...found.map((each) => asOfSweep(each, spec, trial))])
  }
  return problems
}

/** Where a person finds in the sweep what a trial's job is refused for. */
function asOfSweep({ path, expected, found }: Problem, spec: SweepSpec, trial: number | null): Problem {
  if (path === 'metric') return problem(path, expected, found)
  const parameter = Object.keys(spec.parameters).find((each) => isWithin(path, each) || isWithin(each, path))
  if (parameter !== undefined) return problem(`parameters.${path}`, expected, found)
  if (trial === null) return problem(`job.${path}`, expected, found)
  const values = Object.entries(parametersOf(spec, trial)).map(([name, value]) => `${name} = ${JSON.stringify(value)}`)
  const plain = problem(`job.${path}`, expected, found)
  return { ...plain, message: `${plain.message} (with ${values.join(', ')})` }
}

function isWithin(path: string, outer: string): boolean {
  return path === outer || path.startsWith(`${outer}.`) || path.startsWith(`${outer}[`)
}

/** The same may be wrong with many trials. */
function distinct(problems: readonly Problem[]): readonly Problem[] {
  const seen = new Map(problems.toReversed().map((each) => [`${each.path} ${each.expected} ${each.found}`, each]))
  return [...seen.values()].toReversed()
}

function valueOf(target: unknown, path: readonly (string | number)[]): unknown {
  return path.reduce<unknown>(
    (value, key) =>
      typeof value === 'object' && value !== null && Object.hasOwn(value, key)
        ? (value as Record<string | number, unknown>)[key] // an own property of an object
        : undefined,
    target,
  )
}
