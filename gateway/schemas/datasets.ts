/** Datasets as the API takes and shows them. */
import { z } from 'zod'
import type { DatasetDetailView, DatasetView } from '../../machines/views.ts'
import { LIMITS } from '../limits.ts'
import { columnSchema, sha256, time } from './views.ts'

export const datasetName = z
  .string()
  .regex(
    /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}$/,
    'a name of 1 to 100 letters, digits, "_", "." or "-", not starting with "." or "-"',
  )

const column = z.string().min(1).max(200)
const split = z.enum(['train', 'validation', 'test'])
const share = z.number().min(0).max(0.9)

/** kernels/data/ingest/request.ts says what each does. */
export const ingestOptionsSchema = z
  .strictObject({
    format: z.enum(['idx', 'csv', 'npy', 'npz', 'jsonl', 'parquet', 'images']).exactOptional(),
    target: column.exactOptional().describe('The column to predict, unless a job says otherwise.'),
    types: z
      .record(column, z.enum(['number', 'int', 'byte', 'category', 'date', 'skip']))
      .exactOptional()
      .describe('Types of columns, where they should not be as the data looks.'),
    missing: z
      .enum(['keep', 'drop', 'refuse'])
      .exactOptional()
      .describe('keep leaves a missing value missing, drop leaves out its row, refuse is an error.'),
    split: z
      .strictObject({
        seed: z.int().min(0).max(0xffff_ffff).exactOptional().describe('1 when left out.'),
        validation: share.exactOptional(),
        test: share.exactOptional(),
      })
      .superRefine(({ validation = 0.1, test }, context) => {
        const [said, other] = test === undefined ? ['validation', 'test'] : ['test', 'validation']
        if (validation + (test ?? 0.1) <= 0.9) return
        context.addIssue({ code: 'custom', path: [said], message: `at most 0.9 together with the share of ${other}` })
      })
      .exactOptional()
      .describe(
        'Shares of the rows, 0.1 each when left out. Where files are named train, validation and test, shares that ' +
          'are said are dealt out of the training rows, for splits that the files lack.',
      ),
    header: z.boolean().exactOptional().describe('CSV: whether the first line names the columns.'),
    delimiter: z.string().length(1).exactOptional().describe('CSV: between fields.'),
    image: z
      .strictObject({
        height: z.int().min(1).max(4_096),
        width: z.int().min(1).max(4_096),
        channels: z.union([z.literal(1), z.literal(3)]).exactOptional(),
      })
      .exactOptional()
      .describe('Pictures are brought to this size.'),
  })
  .meta({ id: 'IngestOptions' })

/** The same in JSON, of files that the object store has. */
export const datasetBody = z
  .strictObject({
    name: datasetName,
    options: ingestOptionsSchema.default({}),
    files: z
      .array(
        z.strictObject({
          url: z.string().regex(/^blob:[0-9a-f]{64}$/, 'blob: and a SHA-256'),
          name: z.string().min(1).max(255).describe('What it is called: it tells the format.'),
          split: split.exactOptional(),
        }),
      )
      .min(1)
      .max(LIMITS.uploadFilesMax),
  })
  .meta({ id: 'NewDataset' })

export const datasetForm = z
  .object({
    name: datasetName,
    options: z.string().optional().describe('IngestOptions, as JSON.'),
    file: z.array(z.string()).optional().describe('Files; in the fields train, validation and test, of that split.'),
  })
  .meta({ id: 'NewDatasetForm' })

export const datasetSchema = z
  .object({
    name: z.string(),
    version: z.int(),
    owner: z.string(),
    manifest: sha256,
    content: sha256.describe('Hash of its rows and columns: the same content is the same version.'),
    format: z.string(),
    rows: z.int(),
    sizeBytes: z.int(),
    createdAt: time,
  })
  .meta({ id: 'Dataset' }) satisfies z.ZodType<DatasetView>

const statistics = z.object({
  count: z.int().describe('Values that are there.'),
  missing: z.int(),
  min: z.array(z.number()).describe('Of each element of a vector, of each channel of a picture, else of the whole.'),
  max: z.array(z.number()),
  mean: z.array(z.number()),
  std: z.array(z.number()),
  distinct: z.int().exactOptional(),
  classes: z.array(z.int()).exactOptional().describe('Rows of each class.'),
})
const splitSchema = z.object({ count: z.int(), shards: z.int(), statistics: z.array(statistics) })

export const datasetDetailSchema = datasetSchema
  .extend({
    columns: z.array(columnSchema),
    target: z.string().nullable(),
    splits: z.object({
      train: splitSchema,
      validation: splitSchema.exactOptional(),
      test: splitSchema.exactOptional(),
    }),
    split: z
      .object({ seed: z.int(), validation: z.number(), test: z.number() })
      .nullable()
      .describe('How rows were dealt; null where the files had a split of their own.'),
    skipped: z.int().describe('Rows that were left out because a value was missing.'),
    files: z.array(z.object({ name: z.string(), sizeBytes: z.int(), sha256, split: split.exactOptional() })),
  })
  .meta({ id: 'DatasetDetail' }) satisfies z.ZodType<DatasetDetailView>

export const rowsQuery = z.strictObject({
  split: split.default('train'),
  offset: z.coerce.number().int().min(0).max(Number.MAX_SAFE_INTEGER).default(0),
  limit: z.coerce.number().int().min(1).max(LIMITS.pageMax).default(10),
})

export const rowsSchema = z
  .object({
    rows: z.array(z.record(z.string(), z.union([z.number(), z.string(), z.null(), z.array(z.number())]))),
    count: z.int().describe('Rows of the split.'),
  })
  .meta({ id: 'DatasetRows' })
