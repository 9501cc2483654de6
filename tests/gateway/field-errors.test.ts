import { expect, test } from 'vitest'
import { z } from 'zod'
import { fieldErrors } from '../../gateway/schemas/field-errors.ts'

const input = z.union([z.string(), z.strictObject({ dataset: z.string(), column: z.int().exactOptional() }), z.array(z.number())]) // prettier-ignore
const schema = z.strictObject({ inputs: z.array(input) })

test.each([
  ['a number, of none of the kinds', 3, 'inputs[0]: expected text or an object or a list, found 3'],
  ['an object with a field too many', { dataset: 'a', array: [1] }, 'Unknown field inputs[0].array'],
  [
    'an object with a wrong field',
    { dataset: 'a', column: 1.5 },
    'inputs[0].column: expected a whole number, found 1.5',
  ],
  ['a list with a wrong item', [1, 'x'], 'inputs[0][1]: expected a number, found "x"'],
])('of what may be of several kinds, %s is told as what it is', (_, value, message) => {
  const body = { inputs: [value] }
  const { error } = schema.safeParse(body)
  expect(error && fieldErrors(error, body).map((each) => each.message)).toEqual([message])
})

test('all that is wrong is told at once, in the order of the fields', () => {
  const body = { inputs: [{ array: [1] }, null], more: 1 }
  const { error } = schema.safeParse(body)
  expect(error && fieldErrors(error, body).map(({ path, expected, found }) => [path, expected, found])).toEqual([
    ['inputs[0].dataset', 'text', 'nothing'],
    ['inputs[0].array', 'no such field', 'a list of 1 item'],
    ['inputs[1]', 'text or an object or a list', 'null'],
    ['more', 'no such field', '1'],
  ])
})
