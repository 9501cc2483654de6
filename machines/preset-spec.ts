/**
 * A job in a few words: a preset, a dataset and a column to predict. The rest of a specification follows from the data
 * (actors/presets.ts); what comes out is a whole one, and that is what is stored and shown.
 */
import type { DatasetRef, JobSpec } from './spec.ts'

export type PresetName = 'linear' | 'logistic' | 'mlp' | 'cnn' | 'autoencoder'

/** How it runs is said as in every job. */
type RunFields = Partial<Pick<JobSpec, 'register' | 'pool' | 'priority' | 'slots' | 'gang' | 'limits' | 'after'>>

export interface PresetSpec extends RunFields {
  readonly preset: PresetName
  readonly name?: string
  readonly dataset: DatasetRef
  /** Instead of the preset's own. */
  readonly train?: Readonly<Record<string, unknown>>
}
