/** Buttons, links, menus. */
import { useId, useRef, useState, type MouseEvent, type ReactNode } from 'react';

import { usePlace } from '../context';
import { useWords } from '../i18n';

export interface Action {
  label: string;
  run: () => void;
  danger?: boolean;
  disabled?: boolean;
}

export function Button(props: {
  children: ReactNode;
  onClick?: () => void;
  kind?: 'primary' | 'danger' | 'plain';
  disabled?: boolean;
  busy?: boolean;
  submit?: boolean;
  small?: boolean;
  title?: string;
}): JSX.Element {
  const kind = props.kind === 'primary' ? 'lt-primary' : props.kind === 'danger' ? 'lt-danger' : '';
  return (
    <button
      type={props.submit ? 'submit' : 'button'}
      className={`lt-button ${kind} ${props.small ? 'lt-small' : ''}`}
      onClick={props.onClick}
      disabled={props.disabled || props.busy}
      aria-busy={props.busy}
      title={props.title}
    >
      {props.busy && <span className="lt-spinner" aria-hidden="true" />}
      {props.children}
    </button>
  );
}

/** A link to another of our pages; the browser's own way (new tab, copy) works in the console. */
export function Link(props: { to: string; children: ReactNode; className?: string }): JSX.Element {
  const place = usePlace();
  const onClick = (event: MouseEvent): void => {
    if (event.metaKey || event.ctrlKey || event.shiftKey || event.button !== 0) return;
    event.preventDefault();
    place.open(props.to);
  };
  return (
    <a href={place.href(props.to)} className={props.className ?? 'lt-link'} onClick={onClick}>
      {props.children}
    </a>
  );
}

export function CopyButton({ text, label }: { text: string; label?: string }): JSX.Element {
  const { t } = useWords();
  const [copied, setCopied] = useState(false);
  const copy = async (): Promise<void> => {
    await writeClipboard(text);
    setCopied(true);
    setTimeout(() => setCopied(false), 1500);
  };
  return (
    <button type="button" className="lt-button lt-small" onClick={() => void copy()} aria-live="polite">
      {copied ? t('action.copied') : (label ?? t('action.copy'))}
    </button>
  );
}

async function writeClipboard(text: string): Promise<void> {
  if (navigator.clipboard && window.isSecureContext) return navigator.clipboard.writeText(text);
  // Plain http on another machine's address: only the old way is left.
  const area = document.createElement('textarea');
  area.value = text;
  document.body.append(area);
  area.select();
  document.execCommand('copy');
  area.remove();
}

/** A "…" button with the rest of a row's actions. */
export function Menu({ actions, label, text }: { actions: Action[]; label: string; text?: string }): JSX.Element | null {
  const list = useRef<HTMLDivElement>(null);
  const button = useRef<HTMLButtonElement>(null);
  const id = useId();
  if (!actions.length) return null;

  const onOpen = (): void => {
    const at = button.current?.getBoundingClientRect();
    const box = list.current;
    if (!at || !box) return;
    box.showPopover();
    const room = window.innerHeight - at.bottom;
    box.style.left = `${Math.max(8, Math.min(at.right - box.offsetWidth, window.innerWidth - box.offsetWidth - 8))}px`;
    box.style.top = `${room < box.offsetHeight + 8 ? at.top - box.offsetHeight - 4 : at.bottom + 4}px`;
    box.querySelector<HTMLButtonElement>('button:not(:disabled)')?.focus();
  };
  const onKeyDown = (event: React.KeyboardEvent): void => {
    const items = [...(list.current?.querySelectorAll<HTMLButtonElement>('button:not(:disabled)') ?? [])];
    const at = items.indexOf(document.activeElement as HTMLButtonElement);
    const step = event.key === 'ArrowDown' ? 1 : event.key === 'ArrowUp' ? -1 : 0;
    if (step) {
      event.preventDefault();
      items[(at + step + items.length) % items.length]?.focus();
    }
    if (event.key === 'Escape') button.current?.focus();
  };
  return (
    <>
      <button ref={button} type="button" className={text ? 'lt-button' : 'lt-icon-button'} aria-label={label} aria-haspopup="menu" aria-controls={id} onClick={onOpen}>
        {text ?? '⋯'}
      </button>
      <div ref={list} id={id} popover="auto" className="lt lt-menu" role="menu" onKeyDown={onKeyDown}>
        {actions.map(action => (
          <button
            key={action.label}
            type="button"
            role="menuitem"
            className={action.danger ? 'lt-menu-danger' : ''}
            disabled={action.disabled}
            onClick={() => {
              list.current?.hidePopover();
              action.run();
            }}
          >
            {action.label}
          </button>
        ))}
      </div>
    </>
  );
}

/** The actions of a page or a row: the first ones as buttons, the rest behind "…". */
export function Actions({ actions, shown = 1, label, small }: { actions: Action[]; shown?: number; label: string; small?: boolean }): JSX.Element {
  return (
    <span className="lt-actions">
      {actions.slice(0, shown).map(action => (
        <Button key={action.label} small={small} kind={action.danger ? 'danger' : 'plain'} disabled={action.disabled} onClick={action.run}>
          {action.label}
        </Button>
      ))}
      <Menu actions={actions.slice(shown)} label={label} />
    </span>
  );
}
