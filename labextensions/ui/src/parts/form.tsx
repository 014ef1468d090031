/** Fields with their label, hint and problem beside them. */
import { useId, type ReactNode } from 'react';

import { ApiError } from '../client';
import { useWords } from '../i18n';
import { useSentence } from './toast';

interface Common {
  label: string;
  hint?: ReactNode;
  problem?: string | null;
}

export function Field(props: Common & { children: (id: string, describedBy: string | undefined) => ReactNode }): JSX.Element {
  const id = useId();
  const note = props.problem || props.hint;
  return (
    <div className={`lt-field ${props.problem ? 'lt-field-bad' : ''}`}>
      <label htmlFor={id}>{props.label}</label>
      {props.children(id, note ? `${id}-note` : undefined)}
      {note && (
        <div id={`${id}-note`} className="lt-field-note" role={props.problem ? 'alert' : undefined}>
          {note}
        </div>
      )}
    </div>
  );
}

export function TextField(
  props: Common & { value: string; onChange: (value: string) => void; placeholder?: string; required?: boolean; mono?: boolean; type?: string; list?: string[]; autoFocus?: boolean }
): JSX.Element {
  return (
    <Field {...props}>
      {(id, described) => (
        <>
          <input
            id={id}
            type={props.type ?? 'text'}
            className={`lt-input ${props.mono ? 'lt-mono' : ''}`}
            value={props.value}
            placeholder={props.placeholder}
            required={props.required}
            autoFocus={props.autoFocus}
            aria-invalid={!!props.problem}
            aria-describedby={described}
            list={props.list ? `${id}-list` : undefined}
            spellCheck={false}
            onChange={event => props.onChange(event.target.value)}
          />
          {props.list && (
            <datalist id={`${id}-list`}>
              {props.list.map(word => (
                <option key={word} value={word} />
              ))}
            </datalist>
          )}
        </>
      )}
    </Field>
  );
}

export function AreaField(props: Common & { value: string; onChange: (value: string) => void; rows?: number; placeholder?: string; mono?: boolean }): JSX.Element {
  return (
    <Field {...props}>
      {(id, described) => (
        <textarea
          id={id}
          className={`lt-input ${props.mono ? 'lt-mono' : ''}`}
          rows={props.rows ?? 3}
          value={props.value}
          placeholder={props.placeholder}
          aria-invalid={!!props.problem}
          aria-describedby={described}
          spellCheck={false}
          onChange={event => props.onChange(event.target.value)}
        />
      )}
    </Field>
  );
}

export function NumberField(props: Common & { value: number | null; onChange: (value: number | null) => void; min?: number; max?: number; step?: number; unit?: string }): JSX.Element {
  return (
    <Field {...props}>
      {(id, described) => (
        <div className="lt-row">
          <input
            id={id}
            type="number"
            className="lt-input lt-input-number"
            value={props.value ?? ''}
            min={props.min}
            max={props.max}
            step={props.step ?? 1}
            aria-invalid={!!props.problem}
            aria-describedby={described}
            onChange={event => props.onChange(event.target.value === '' ? null : Number(event.target.value))}
          />
          {props.unit && <span className="lt-hint">{props.unit}</span>}
        </div>
      )}
    </Field>
  );
}

export interface Choice {
  value: string;
  label: string;
}

export function SelectField(props: Common & { value: string; onChange: (value: string) => void; choices: Choice[] }): JSX.Element {
  return (
    <Field {...props}>
      {(id, described) => (
        <select id={id} className="lt-input" value={props.value} aria-describedby={described} onChange={event => props.onChange(event.target.value)}>
          {!props.choices.some(choice => choice.value === props.value) && <option value={props.value}>{props.value || '–'}</option>}
          {props.choices.map(choice => (
            <option key={choice.value} value={choice.value}>
              {choice.label}
            </option>
          ))}
        </select>
      )}
    </Field>
  );
}

/** The fields most people leave alone. */
export function More({ children, label }: { children: ReactNode; label?: string }): JSX.Element {
  const { t } = useWords();
  return (
    <details className="lt-more">
      <summary>{label ?? t('form.more')}</summary>
      <div className="lt-form-fields">{children}</div>
    </details>
  );
}

/** What the service said about one field, else null. */
export function problemOf(error: unknown, field: string): string | null {
  return error instanceof ApiError ? (error.fields.find(problem => problem.field === field || problem.field.endsWith(`.${field}`))?.message ?? null) : null;
}

/** A refusal that belongs to no field of the form. */
export function FormProblem({ error, fields }: { error: unknown; fields: string[] }): JSX.Element | null {
  const sentence = useSentence();
  if (!error) return null;
  if (error instanceof ApiError && error.fields.length && error.fields.every(problem => fields.includes(problem.field))) return null;
  return (
    <div className="lt-error lt-error-form" role="alert">
      <span className="lt-dot lt-dot-red" aria-hidden="true" /> {sentence(error)}
      {error instanceof ApiError && error.requestId && <code className="lt-hint"> {error.requestId}</code>}
    </div>
  );
}
