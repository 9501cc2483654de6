/** The schema of a job in a few words: a preset, a dataset and what to predict. `train` is checked when it is whole. */
import { z } from 'zod'
import type { PresetSpec } from '../../machines/preset-spec.ts'
import { jobSpecFields, runFields } from './job-spec.ts'

export const presetSpecSchema = z
  .strictObject({
    preset: z.enum(['linear', 'logistic', 'mlp', 'cnn', 'autoencoder']),
    name: jobSpecFields.name.exactOptional().describe('The dataset and the preset when left out.'),
    dataset: jobSpecFields.dataset,
    train: z
      .record(z.string(), z.unknown())
      .exactOptional()
      .describe("Fields of `train`, instead of the preset's own."),
    ...runFields,
  })
  .meta({ id: 'PresetSpec' }) satisfies z.ZodType<PresetSpec>
