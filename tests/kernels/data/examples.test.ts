import { expect, test } from 'vitest'
import { readExamples } from '../../../kernels/mod.ts'
import type { Column, FeatureColumn } from '../../../kernels/mod.ts'

const TABLE: FeatureColumn[] = [
  { name: 'size', dtype: 'float32', shape: [], nullable: true },
  { name: 'colour', dtype: 'int32', shape: [], categories: { count: 2, names: ['red', 'blue'] }, nullable: true },
]

test('numbers alone are rows of a model that takes one number', () => {
  expect([...readExamples([[1], [2]], [{ name: 'x', dtype: 'float32', shape: [1] }]).values]).toEqual([1, 2])
})

test('an example is an object or a list of columns, with categories by name or code and null for what is missing', () => {
  const { values, problems } = readExamples([{ colour: 'blue', size: 3 }, [4, 0], { size: null, colour: null }], TABLE)
  expect(problems).toEqual([])
  expect([...values]).toEqual([3, 1, 4, 0, Number.NaN, -1])
})

test('whatever does not fit is named by its place, all of it at once', () => {
  const inputs = [{ size: 1, colour: 'green' }, { size: 'x' }, [1], { size: 1, colour: 1, taste: 2 }]
  expect(readExamples(inputs, TABLE).problems.map(({ message }) => message)).toEqual([
    'inputs[0].colour: expected one of "red", "blue", found green',
    'inputs[1].size: expected a number, found x',
    'inputs[1].colour: expected one of "red", "blue", found nothing',
    'inputs[2]: expected an object, or a list of 2 values: size, colour, found [1]',
    'inputs[3].taste: expected one of the columns size, colour, found taste',
  ])
})

test('a missing value is refused where preprocessing does not say what to make of it', () => {
  const columns: Column[] = TABLE.map(({ nullable: _, ...column }) => column)
  expect(
    readExamples([{ size: null, colour: 'red' }, [1, null]], columns).problems.map(({ message }) => message),
  ).toEqual([
    'inputs[0].size: expected a number, found null',
    'inputs[1][1]: expected one of "red", "blue", found null',
  ])
})

test('a long list that does not fit is told by its length', () => {
  const picture: Column = { name: 'picture', dtype: 'uint8', shape: [28, 28, 1] }
  const { problems } = readExamples([Array.from({ length: 783 }, () => 0)], [picture])
  expect(problems[0]?.found).toBe('a list of 783 items')
})
