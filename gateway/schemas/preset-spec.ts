/** The schema of a job in a few words: a preset, a dataset and what to predict. `train` is checked when it is whole. */
import { z } from 'zod'
import type { PresetSpec } from '../../machines/preset-spec.ts'
import { jobSpecFields } from './job-spec.ts'

export const presetSpecSchema = z
  .strictObject({
    preset: z.enum(['linear', 'logistic', 'mlp', 'cnn', 'autoencoder']),
    name: jobSpecFields.name.exactOptional().describe('The dataset and the preset when left out.'),
    dataset: jobSpecFields.dataset,
    train: z
      .record(z.string(), z.unknown())
      .exactOptional()
      .describe("Fields of `train`, instead of the preset's own."),
    register: z.strictObject({ name: jobSpecFields.name }).exactOptional(),
    pool: jobSpecFields.name.exactOptional(),
    priority: z.enum(['high', 'normal', 'low']).exactOptional(),
  })
  .meta({ id: 'PresetSpec' }) satisfies z.ZodType<PresetSpec>
