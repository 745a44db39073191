/** A line of text. What is typed is no shortcut of the viewer. */

interface Typed {
  id?: string;
  label: string;
  value: string;
  input: (text: string) => void;
  enter: () => void;
  escape?: () => void;
  select?: boolean; // ready to be typed over
}

export function TextInput({ id, label, value, input, enter, escape, select }: Typed) {
  return (
    <input
      type="text"
      id={id}
      placeholder={label}
      aria-label={label}
      value={value}
      ref={element => {
        if (select && element && !element.dataset.selected) {
          element.dataset.selected = 'once';
          window.setTimeout(() => {
            element.focus(); // which scrolls to it
            element.select();
          });
        }
      }}
      onMouseDown={event => event.stopPropagation()}
      onInput={event => input(event.currentTarget.value)}
      onKeyDown={event => {
        event.stopPropagation();
        if (event.key === 'Enter') enter();
        if (event.key === 'Escape') escape?.();
      }}
    />
  );
}
