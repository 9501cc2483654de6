/**
 * Whether a dataset has what a fitted pipeline reads: a model that goes on with other data, is tested on it or predicts
 * for it takes the columns by their names, and must find under them what it was trained on. A category's code means its
 * name, so the names must stand in the same order; a dataset in which the last ones do not occur will do.
 */
import { problem } from '../layer.ts'
import type { Problem } from '../layer.ts'
import type { Column, FeatureColumn } from './column.ts'
import type { DatasetManifest, SplitName } from './manifest.ts'
import type { Pipeline } from './pipeline.ts'

export interface PipelineUse {
  /** The splits that are read. */
  readonly splits: readonly SplitName[]
  /** Whether the target is read too. */
  readonly isTargetRead: boolean
}

/** What speaks against it, each by the field `dataset`. */
export function checkPipelineFits(
  pipeline: Pipeline,
  data: Pick<DatasetManifest, 'columns' | 'splits'>,
  { splits, isTargetRead }: PipelineUse,
): Problem[] {
  const target: readonly FeatureColumn[] = isTargetRead && pipeline.target !== null ? [pipeline.target] : []
  return [...pipeline.features, ...target].flatMap((wanted) => {
    const index = data.columns.findIndex(({ name }) => name === wanted.name)
    const found = data.columns[index]
    if (found === undefined || !isAlike(wanted, found)) {
      const there = found === undefined ? data.columns.map(({ name }) => name).join(', ') : describe(found)
      return problem('dataset', `a column ${describe(wanted)}`, there)
    }
    const missing = splits.reduce((sum, split) => sum + (data.splits[split]?.statistics[index]?.missing ?? 0), 0)
    return missing === 0 || wanted.nullable === true
      ? []
      : problem('dataset', `no missing values of "${wanted.name}"`, String(missing))
  })
}

function isAlike(wanted: Column, found: Column): boolean {
  if (wanted.shape.join() !== found.shape.join()) return false
  const [before, now] = [wanted.categories, found.categories]
  if (before === undefined || now === undefined) return before === now
  if (now.count > before.count || (before.names === undefined) !== (now.names === undefined)) return false
  return (now.names ?? []).every((name, code) => name === before.names?.[code])
}

const NAMES_SHOWN = 20

function describe({ name, shape, categories }: Column): string {
  const quoted = JSON.stringify(name)
  if (categories === undefined) return shape.length === 0 ? `${quoted} of numbers` : `${quoted} of shape [${shape.join(', ')}]` // prettier-ignore
  const names = categories.names?.slice(0, NAMES_SHOWN).join(', ')
  return `${quoted} of ${categories.count} categories${names === undefined ? '' : ` (${names})`}`
}
